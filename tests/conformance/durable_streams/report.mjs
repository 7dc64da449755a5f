// What every program here does: its options, lines of JSON for the test that runs it, an end when its input ends.

export const options = JSON.parse(process.argv[2])

export const report = line => process.stdout.write(JSON.stringify(line) + "\n")

// Told under a name of its own: the test that runs this fails for it.
for (const kind of ["unhandledRejection", "uncaughtException"])
  process.on(kind, error => report({ unhandled: `${kind}: ${error?.stack ?? error}` }))

console.warn = (...words) => report({ warning: words.join(" ") })
console.error = (...words) => report({ error: words.map(word => word?.message ?? JSON.stringify(word)).join(" ") })

/** Resolves when there is no more input. */
export const told = new Promise(resolve => process.stdin.resume().on("end", resolve))
