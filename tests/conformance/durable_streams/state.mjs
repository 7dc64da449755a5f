// A database of TanStack DB that follows a stream of state changes, with several live queries open.
// Options: url; live: "auto", "sse" or "long-poll"; closeAt: the key whose change closes the client within its batch.
import { createStateSchema } from "@durable-streams/state"
import { createStreamDB } from "@durable-streams/state/db"
import { count, createLiveQueryCollection, eq, gt } from "@tanstack/db"
import { options, report, told } from "./report.mjs"

const anything = { "~standard": { version: 1, vendor: "here", validate: value => ({ value }) } }
const db = createStreamDB({
  streamOptions: { url: options.url, contentType: "application/json" },
  live: options.live === "auto" ? true : options.live,
  state: createStateSchema({
    users: { schema: anything, type: "user", primaryKey: "id" },
    orders: { schema: anything, type: "order", primaryKey: "id" },
  }),
  onEvent: event => {
    if (event.key !== options.closeAt) return
    db.close()
    report({ closed: event.key })
  },
})
const { users, orders } = db.collections

const queries = {
  everybody: q => q.from({ user: users }).select(({ user }) => ({ id: user.id, name: user.name })),
  adults: q => q.from({ user: users }).where(({ user }) => gt(user.age, 17)).select(({ user }) => ({ id: user.id })),
  totals: q =>
    q.from({ order: orders }).groupBy(({ order }) => order.user)
      .select(({ order }) => ({ id: order.user, orders: count(order.id) })),
  names: q =>
    q.from({ order: orders }).join({ user: users }, ({ order, user }) => eq(order.user, user.id), "inner")
      .select(({ order, user }) => ({ id: order.id, name: user.name })),
}

const byId = (a, b) => (a.id < b.id ? -1 : 1)
const columns = ["id", "name", "orders"]
const plain = row => Object.fromEntries(columns.filter(name => name in row).map(name => [name, row[name]]))
for (const [name, query] of Object.entries(queries)) {
  const live = createLiveQueryCollection({ query, startSync: true })
  live.subscribeChanges(() => report({ query: name, rows: live.toArray.map(plain).sort(byId) }))
}

await db.preload().then(() => report({ ready: true }), error => report({ failed: error.message }))
await told
db.close()
process.exit()
