"""A log as rows of tables: what the stores that speak SQL have in common. Pure; each store has its own statements.

`topics` is a writer's topics, `lineage` what a fork has inherited, `selecting` where a selection's rows are looked for,
`pages` what is made of the rows, `archive_rows` a whole log as rows.
"""
