// Drives the published interpreter, or another module in its place: JSON lines in, JSON lines out, in order.
//
// Arguments: the folder with the packages; the file of the other module, if there is one.
//
// Request:  {air, prev_data, data, params, call_results}; byte strings are base64, `params` is the
//           record of the interpreter's interface with `secret_key_bytes` as an array.
// Response: {outcome} as the interpreter gives it, byte strings in base64, or {trap} when it
//           trapped. After a trap the next request gets a fresh instance.
//
// The first line out says which interpreter runs: {ready, interpreter}.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, other] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const modules = join(folder, 'node_modules', '@fluencelabs');
const load = (path) => import(pathToFileURL(join(modules, path)));
const { MarineService } = await load('marine-js/dist/MarineService.js');
const { defaultCallParameters } = await load('marine-js/dist/types.js');
const host = await WebAssembly.compile(await readFile(join(modules, 'marine-js/dist/marine-js.wasm')));
const interpreter = await readFile(other ?? join(modules, 'avm/dist/avm.wasm'));
const version = other ?? require('@fluencelabs/avm/package.json').version;

const config = () => ({
    modules_config: [{
        import_name: 'avm',
        config: {
            logger_enabled: true,
            logging_mask: 0,
            wasi: { envs: {}, preopened_files: new Set(), mapped_dirs: new Map() },
        },
    }],
});

async function instantiate() {
    const service = new MarineService(host, 'avm', () => {}, config(), { avm: interpreter });
    await service.init();
    return service;
}

// The host reports traps on the console, which would end up between the answers.
let said = '';
for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    console[level] = (...words) => { said = words.join(' '); };
}

const bytes = (text) => Array.from(Buffer.from(text, 'base64'));
const base64 = (array) => Buffer.from(array).toString('base64');

function invoke(service, { air, prev_data, data, params, call_results }) {
    const parameters = [air, bytes(prev_data), bytes(data), params, bytes(call_results)];
    const outcome = service.call('invoke', parameters, defaultCallParameters);
    outcome.data = base64(outcome.data);
    outcome.call_requests = base64(outcome.call_requests);
    return outcome;
}

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

let service = await instantiate();
print({ ready: true, interpreter: version });
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    let outcome;
    try {
        outcome = invoke(service, JSON.parse(line));
    } catch (trap) {
        // What a trapped instance holds is undefined.
        service = await instantiate();
        print({ trap: `${trap?.message ?? trap}: ${said}` });
        continue;
    }
    print({ outcome });
}
