// Reads a stream of JSON with the npm package `eventsource`, which knows nothing of Durable Streams. Options: url.
import { EventSource } from "eventsource"
import { options, report, told } from "./report.mjs"

const source = new EventSource(options.url)
source.addEventListener("data", event => report({ items: JSON.parse(event.data), id: event.lastEventId }))
await told
source.close()
process.exit()
