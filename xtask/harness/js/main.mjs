// Runs the unmodified JS client against our peers: one JSON line for each case.
//
// Usage: main.mjs PEER WASM MODULES FOLDER [--only NAME] [--repeat N] | main.mjs --list
//
// PEER is the program, WASM the folder of the guest modules, MODULES that of the published ones, FOLDER where the
// peers keep their files. The packages are in `node_modules` of the folder above.
// Lines: {run, name, outcome: "passed" | "failed" | "not run", ms, detail}, and last {end: true}; with --list only
// {name}.

import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { cases, sleep, test } from './suite.mjs';
import './cases/builtins.mjs';
import './cases/untyped.mjs';
import './cases/scripts.mjs';
import './cases/clients.mjs';
import './cases/services.mjs';
import './cases/connections.mjs';
import './cases/spells.mjs';

const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
        list: { type: 'boolean' },
        only: { type: 'string' },
        repeat: { type: 'string', default: '1' },
    },
});
const [binary, wasm, modules, folder] = positionals;
const packages = fileURLToPath(new URL('../node_modules', import.meta.url));
const sources = fileURLToPath(new URL('aqua', import.meta.url));
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
// Packages that print must not break the lines.
console.log = console.error;
console.info = console.error;
console.debug = console.error;

test('every function of aqua-lib has a case', async () => {
    const missing = [];
    for (const file of ['builtin', 'math', 'subnet', 'workers']) {
        const text = readFileSync(join(packages, '@fluencelabs/aqua-lib', `${file}.aqua`), 'utf8');
        let service;
        for (const line of text.split('\n')) {
            service = line.match(/^service \w+\("([^"]+)"\)/)?.[1] ?? (/^\w/.test(line) ? undefined : service);
            const name = line.match(/^ +(\w+)\(/)?.[1];
            if (service && name && !cases.some((other) => other.name === `${service}.${name}`)) {
                missing.push(`${service}.${name}`);
            }
        }
    }
    if (missing.length > 0) {
        throw new Error(`no case for ${missing.join(', ')}`);
    }
});

if (values.list) {
    for (const { name } of cases) {
        print({ name });
    }
    process.exit(0);
}

const chosen = cases.filter(({ name }) => values.only === undefined || name.includes(values.only));
const { Program } = await import('./peers.mjs');
const { compile, Network } = await import('./network.mjs');
const program = new Program(binary, modules, folder);
const compiled = await compile(sources, packages);
// A rejection that nobody waits for any more belongs to a case that has failed already.
process.on('unhandledRejection', (error) => console.error('unhandled:', error));

for (let run = 1; run <= Number(values.repeat); run += 1) {
    const place = join(folder, `run-${run}`);
    rmSync(place, { recursive: true, force: true });
    const network = new Network({ program, folder: place, wasm, compiled });
    let failed = false;
    try {
        await network.start();
        for (const one of chosen) {
            const result = await runCase(one, network);
            failed ||= result.outcome === 'failed';
            print({ run, name: one.name, ...result });
        }
    } catch (error) {
        failed = true;
        print({ run, name: 'start of the network', outcome: 'failed', ms: 0, detail: describe(error) });
    }
    await network.stop();
    if (!failed) {
        rmSync(place, { recursive: true, force: true });
    }
}
print({ end: true });
process.exit(0);

async function runCase({ body, needs, limitMs }, network) {
    const start = Date.now();
    const ended = (outcome, detail) => ({ outcome, ms: Date.now() - start, detail });
    try {
        if (needs !== undefined && !(await network.serves(needs))) {
            return ended('not run', `the peer does not serve ${needs}`);
        }
        const late = sleep(limitMs).then(() => {
            throw new Error(`no end after ${limitMs} ms`);
        });
        // The timer may outlive the case.
        late.catch(() => {});
        await Promise.race([body(network), late]);
        return ended('passed');
    } catch (error) {
        return ended('failed', describe(error));
    }
}

function describe(error) {
    if (error instanceof Error) {
        return error.message;
    }
    return JSON.stringify(error) ?? String(error);
}
