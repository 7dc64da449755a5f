// Starts the reference server: node durable_streams.mjs PACKAGE PORT [FOLDER], in memory or in files.
// It does not end connections that wait for long between two requests: when it is busy, none is to be lost for that.
const [package_, port, dataDir] = process.argv.slice(2)
const { DurableStreamTestServer } = await import(package_)
const server = new DurableStreamTestServer({ host: "127.0.0.1", port: Number(port), dataDir, compression: false })
await server.start()
server.server.keepAliveTimeout = 0
