// Appends numbers with the official idempotent producer, several batches at once. It does not repeat what failed, so
// that its `fetch` does. Options: url, count.
import { DurableStream, IdempotentProducer } from "@durable-streams/client"
import { options, report, told } from "./report.mjs"

const BATCH_BYTES = 20
const PAUSE_MILLISECONDS = 10

const fetchUntilAnswered = (url, init) =>
  fetch(url, init).catch(async () => {
    await new Promise(resolve => setTimeout(resolve, PAUSE_MILLISECONDS))
    return fetchUntilAnswered(url, init)
  })

const stream = new DurableStream({ url: options.url, contentType: "application/json" })
const producer = new IdempotentProducer(stream, "writer", {
  maxBatchBytes: BATCH_BYTES,
  fetch: fetchUntilAnswered,
  onError: error => report({ error: error.message }),
})
for (let number = 0; number < options.count; number++) producer.append(JSON.stringify(number))
await producer.flush()
report({ written: options.count })
await producer.detach()
await told
process.exit()
