// The Node.js SDK of COS behind a pipe: reads a method and its arguments as JSON, one call a line, and answers
// with what the SDK says, in order. Arguments: the folder with its packages, the SDK's options.
"use strict";

const fs = require("fs");
const path = require("path");
const readline = require("readline");

const COS = require(path.join(process.argv[2], "node_modules", "cos-nodejs-sdk-v5"));
const cos = new COS(JSON.parse(process.argv[3]));

async function call(method, given) {
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
