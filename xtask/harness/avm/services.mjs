// Runs services in the published JS host: JSON lines in, JSON lines out, in order.
//
// Request:  {load: [{name, path, logging_mask, envs}]} for a new service, whose last module is the facade, or
//           {call, arguments, parameters} for a call of it. Arguments are JSON text, as the result is: numbers of
//           JavaScript would not hold all integers.
// Response: {loaded: true}, {result, log} or {error, log}; `log` has what modules logged meanwhile.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const dist = join(process.argv[2], 'node_modules', '@fluencelabs', 'marine-js', 'dist');
const { init } = await import(pathToFileURL(join(dist, 'marine_js.js')));
const host = await WebAssembly.compile(await readFile(join(dist, 'marine-js.wasm')));

// The host reports traps on the console, which would end up between the answers.
for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    console[level] = () => {};
}

let log = [];
let service;
let facade;

async function load(modules) {
    const files = {};
    for (const { name, path } of modules) {
        files[name] = await readFile(path);
    }
    const config = {
        modules_config: modules.map(({ name, logging_mask, envs }) => ({
            import_name: name,
            config: {
                logger_enabled: true,
                logging_mask,
                wasi: { envs, preopened_files: new Set(), mapped_dirs: new Map() },
            },
        })),
    };
    service = await init(host);
    service.register_module(config, files, (message) => log.push(message));
    facade = modules.at(-1).name;
    return { loaded: true };
}

async function answer(request) {
    try {
        return request.load
            ? await load(request.load)
            : { result: service.call_module(facade, request.call, request.arguments, request.parameters) };
    } catch (error) {
        return { error: `${error?.message ?? error}` };
    }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    log = [];
    const answered = await answer(JSON.parse(line));
    process.stdout.write(`${JSON.stringify({ ...answered, log })}\n`);
}
