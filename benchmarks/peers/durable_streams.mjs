// Starts the reference server: node durable_streams.mjs PACKAGE PORT [FOLDER], in memory or in files
const [package_, port, dataDir] = process.argv.slice(2)
const { DurableStreamTestServer } = await import(package_)
await new DurableStreamTestServer({ host: "127.0.0.1", port: Number(port), dataDir, compression: false }).start()
