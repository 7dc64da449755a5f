// Reads a stream of JSON with the official client, as an application does: a session that has ended is begun again
// after the last batch that came. Options: url; live: "auto", "sse" or "long-poll".
import { stream } from "@durable-streams/client"
import { options, report, told } from "./report.mjs"

const ending = new AbortController()
let live = options.live === "auto" ? true : options.live
let offset = "-1"
let closed = false

// The client gives a session up after three streams of less than a second each, and says only here that it is time
// for long-polls.
const warn = console.warn
console.warn = words => {
  if (words.includes("Falling back to long polling")) live = "long-poll"
  warn(words)
}

const watched = (url, init) => {
  report({ asked: new URL(url).searchParams.get("live") ?? "catch-up" })
  return fetch(url, init)
}

const take = batch => {
  offset = batch.offset
  closed = batch.streamClosed
  report({ items: batch.items, upToDate: batch.upToDate })
}

const follow = async () => {
  while (!closed && !ending.signal.aborted) {
    const session = await stream({ url: options.url, offset, live, fetch: watched, signal: ending.signal })
    let over = false
    const last = new Promise(resolve => {
      session.subscribeJson(batch => {
        if (!over) take(batch)
        if (batch.streamClosed) resolve()
      })
    })
    const error = await session.closed.then(() => null, error => error.message)
    // It says so before it has handed out its last batch: of a closed stream that has to come, and what else comes
    // late is read again by the next session.
    if (error === null && session.streamClosed) await last
    over = true
    report({ session: error })
  }
  report({ closed })
}

const following = follow().catch(error => {
  if (!ending.signal.aborted) throw error
})
await told
ending.abort()
await following
process.exit()
