// Starts the reference server: node durable_streams.mjs PACKAGE PORT
const [package_, port] = process.argv.slice(2)
const { DurableStreamTestServer } = await import(package_)
await new DurableStreamTestServer({ host: "127.0.0.1", port: Number(port), compression: false }).start()
