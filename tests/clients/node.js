// The Node.js SDK of COS behind a pipe: reads a method and its arguments as JSON, one call a line, and answers
// with what the SDK says, in order. Arguments: the folder with its packages, the SDK's options.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const path = require("path");
const readline = require("readline");

const COS = require(path.join(process.argv[2], "node_modules", "cos-nodejs-sdk-v5"));
const cos = new COS(JSON.parse(process.argv[3]));

/** A form as the vendor's samples sign and send it, from the address that the SDK is pointed at. */
async function form({ Host, Key, File }) {
    const { SecretId, SecretKey, Ip } = JSON.parse(process.argv[3]);
    const hmac = (key, text) => crypto.createHmac("sha1", key).update(text).digest("hex");
    const now = Math.floor(Date.now() / 1000);
    const keyTime = `${now};${now + 900}`;
    const policy = JSON.stringify({
        expiration: new Date((now + 900) * 1000).toISOString(),
        conditions: [
            { "q-sign-algorithm": "sha1" },
            { "q-ak": SecretId },
            { "q-sign-time": keyTime },
            { success_action_status: "201" },
            ["starts-with", "$key", ""],
        ],
    });
    const toSign = crypto.createHash("sha1").update(policy).digest("hex");
    const fields = {
        key: Key,
        success_action_status: "201",
        policy: Buffer.from(policy).toString("base64"),
        "q-sign-algorithm": "sha1",
        "q-ak": SecretId,
        "q-key-time": keyTime,
        "q-signature": hmac(hmac(SecretKey, keyTime), toSign),
    };
    const data = new FormData();
    Object.entries(fields).forEach(([name, value]) => data.append(name, value));
    data.append("file", new Blob([fs.readFileSync(File)]), path.basename(File));
    const whole = new Response(data);
    const body = Buffer.from(await whole.arrayBuffer());
    const headers = { Host, "Content-Type": whole.headers.get("content-type"), "Content-Length": body.length };
    const [hostname, port] = Ip.split(":");
    return await new Promise((resolve, reject) => {
        const sent = http.request({ hostname, port, method: "POST", path: "/", headers }, (answer) => {
            answer.resume();
            answer.on("end", () => resolve({ status: answer.statusCode, etag: answer.headers.etag }));
        });
        sent.on("error", reject);
        sent.end(body);
    });
}

async function call(method, given) {
    if (method === "form") {
        return await form(given);
    }
    const wanted = { ...given };
    if (wanted.Body) {
        wanted.Body = fs.readFileSync(wanted.Body.file);
    }
    if (wanted.Output) {
        wanted.Output = fs.createWriteStream(wanted.Output);
    }
    if (method === "getObjectUrl") {
        return await new Promise((resolve, reject) =>
            cos.getObjectUrl(wanted, (error, data) => (error ? reject(error) : resolve(data))),
        );
    }
    const data = await cos[method](wanted);
    if (Buffer.isBuffer(data.Body)) {
        data.Body = data.Body.toString("hex");
    }
    return data;
}

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [method, given] = JSON.parse(line);
        let answer;
        try {
            answer = { data: await call(method, given) };
        } catch (error) {
            answer = { error: { message: String(error.message || error), code: error.code, status: error.statusCode } };
        }
        process.stdout.write(JSON.stringify(answer) + "\n");
    }
}

main();
