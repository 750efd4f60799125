// Serves POST /event-invoke on the instance's socket with a handler in Node.js.
// Started as: node runner.js SOCKETS MODULE FUNCTION
'use strict'
const fs = require('fs')
const http = require('http')
const net = require('net')
const path = require('path')
const [, , sockets, file, name] = process.argv
const NO_HANDLER = 90
const FAILED_AT_START = 91
const MAX_RESULT = 6 << 20

function say (text) {
  try { fs.writeSync(2, text + '\n') } catch (_) { /* nobody reads it */ }
}

function load () {
  const place = path.resolve(process.cwd(), file + '.js')
  if (!fs.existsSync(place)) {
    say(`there is no file ${file}.js`)
    process.exit(NO_HANDLER)
  }
  let handler
  try {
    handler = require(place)[name]
  } catch (error) {
    say(String((error && error.stack) || error))
    process.exit(FAILED_AT_START)
  }
  if (typeof handler !== 'function') {
    say(`${file}.js exports no function ${name}`)
    process.exit(NO_HANDLER)
  }
  return handler
}

function context (headers) {
  const told = (what) => headers['x-scf-' + what] || ''
  return {
    request_id: told('request-id'),
    requestId: told('request-id'),
    function_name: told('name'),
    function_version: told('version'),
    memory_limit_in_mb: Number(told('memory')),
    time_limit_in_ms: 1000 * Number(told('timeout')),
    namespace: told('namespace'),
    tencentcloud_region: told('region'),
    tencentcloud_appid: told('appid'),
    tencentcloud_uin: told('uin'),
    environment: JSON.stringify(process.env),
    callbackWaitsForEmptyEventLoop: false
  }
}

// An async handler gives a promise; one with three parameters calls back; any other gives its result.
function call (handler, event, about) {
  return new Promise((resolve, reject) => {
    const done = (error, result) => (error ? reject(error) : resolve(result))
    const given = handler(event, about, done)
    if (given && typeof given.then === 'function') given.then(resolve, reject)
    else if (handler.length < 3) resolve(given)
  })
}

function failure (error) {
  const message = (error && error.message) || String(error)
  const kind = (error && error.name) || 'Error'
  const trace = String((error && error.stack) || '').slice(0, 4000)
  return JSON.stringify({ errorCode: -1, errorMessage: `${kind}: ${message}`.slice(0, 1000), stackTrace: trace })
}

let answerNow = null

async function run (body, headers) {
  let event
  try { event = JSON.parse(body) } catch (_) { return [500, '400', failure(new Error('the event is no JSON'))] }
  try {
    const failed = new Promise((_resolve, reject) => { answerNow = reject })
    const result = await Promise.race([call(handler, event, context(headers)), failed])
    const text = JSON.stringify(result === undefined ? null : result)
    if (Buffer.byteLength(text) > MAX_RESULT) return [500, '407', failure(new Error('the result is too large'))]
    return [200, null, text]
  } catch (error) {
    say(String((error && error.stack) || error))
    return [500, '430', failure(error)]
  } finally {
    answerNow = null
  }
}

// What a handler throws beside its promise fails the event that it works on, as in SCF.
for (const kind of ['uncaughtException', 'unhandledRejection']) {
  process.on(kind, (error) => {
    if (answerNow) return answerNow(error)
    say(String((error && error.stack) || error))
    process.exit(1)
  })
}

const handler = load()
const server = http.createServer((request, answer) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', async () => {
    const [status, verdict, text] = await run(Buffer.concat(parts).toString(), request.headers)
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    if (verdict) headers['x-tidings-status'] = verdict
    answer.writeHead(status, headers)
    answer.end(text)
  })
})
server.timeout = 0
server.requestTimeout = 0
server.listen(path.join(sockets, 's'), () => {
  const ready = net.connect(path.join(sockets, 'ready'), () => ready.end())
  ready.on('error', () => process.exit(FAILED_AT_START))
})
