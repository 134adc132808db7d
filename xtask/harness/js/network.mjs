// Two peers that know each other, and clients of theirs.

import { readdirSync, readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

import { compileFromPath } from '@fluencelabs/aqua-api';

import './promise.mjs';
import { peerIdOfSeed } from './encoding.mjs';
import { Peer } from './peers.mjs';
import { eventually } from './suite.mjs';

const { callAquaFunction, createClient, v5_callFunction, v5_registerService } = await import(
    '@fluencelabs/js-client'
);

const TTL_MS = 30_000;

// The functions of all sources by name, and the declared services.
export async function compile(folder, packages) {
    const functions = {};
    const services = {};
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.aqua'))) {
        const compiled = await compileFromPath({
            filePath: join(folder, file),
            imports: [packages],
        });
        if (compiled.errors.length > 0) {
            throw new Error(`${file}: ${compiled.errors.join('\n')}`);
        }
        for (const [name, definition] of Object.entries(compiled.functions)) {
            if (name in functions) {
                throw new Error(`${file}: there is a function ${name} already`);
            }
            functions[name] = definition;
        }
        Object.assign(services, compiled.services);
    }
    return { functions, services };
}

// A connected client.
export class Client {
    constructor(peer, compiled) {
        this.peer = peer;
        this.compiled = compiled;
        this.id = peer.getPeerId();
        this.relay = peer.getRelayPeerId();
    }

    static async connect(relay, compiled, options = {}) {
        for (let attempt = 1; ; attempt += 1) {
            try {
                const peer = await createClient(relay.ws, { defaultTtlMs: TTL_MS, ...options });
                return new Client(peer, compiled);
            } catch (error) {
                // A client gives its own worker thread ten seconds, which a busy machine may need.
                if (attempt === 5 || !/init message from worker/.test(error.message)) {
                    throw error;
                }
            }
        }
    }

    // Calls a compiled function.
    call(name, ...args) {
        return this.callFor(TTL_MS, name, ...args);
    }

    // The same with a time to live.
    async callFor(ttl, name, ...args) {
        const definition = this.compiled.functions[name];
        if (definition === undefined) {
            throw new Error(`no source has a function ${name}`);
        }
        return v5_callFunction([this.peer, ...args, { ttl }], definition.funcDef, definition.script);
    }

    // Runs AIR as it is; `args` are what `getDataSrv` answers.
    air(script, args = {}, ttl = TTL_MS) {
        const config = { ttl };
        return callAquaFunction({ script, peer: this.peer, args, config, fireAndForget: false });
    }

    // Offers a service that the sources declare.
    offer(declaration, id, implementation) {
        v5_registerService([this.peer, id, implementation], this.compiled.services[declaration]);
    }

    disconnect() {
        return this.peer.disconnect();
    }
}

export class Network {
    constructor({ program, folder, wasm, compiled }) {
        Object.assign(this, { program, folder, wasm, compiled });
        this.seeds = {};
        this.peers = [];
        this.clients = [];
        this.fixtures = new Map();
        this.served = new Map();
        this.managerSeed = randomBytes(32);
    }

    async start() {
        this.a = await this.peer('a', { hosting: true });
        this.b = await this.peer('b', { bootstrap: [this.a.tcp] });
        this.user = await this.client(this.a);
        this.manager = await this.client(this.a, this.managerKey());
        this.other = await this.client(this.b);
        // Says nothing until the last case.
        this.quiet = await this.client(this.a);
        this.quietSince = Date.now();
        const near = await eventually(
            () => this.user.call('neighborhood', this.a.id, this.b.id, true, null),
            (peers) => peers.includes(this.b.id),
        );
        if (!near.includes(this.b.id)) {
            throw new Error('the two peers did not find each other');
        }
        return this;
    }

    // Starts a further peer.
    async peer(name, options = {}) {
        const seed = randomBytes(32);
        this.seeds[name] = seed;
        const peer = new Peer({
            program: this.program,
            folder: join(this.folder, name),
            seed,
            manager: peerIdOfSeed(this.managerSeed),
            ...options,
        });
        this.peers.push(peer);
        await peer.start();
        return peer;
    }

    // Options of a client that may administrate the peers.
    managerKey() {
        return { keyPair: { type: 'Ed25519', source: Uint8Array.from(this.managerSeed) } };
    }

    async client(relay, options) {
        const client = await Client.connect(relay, this.compiled, options);
        this.clients.push(client);
        return client;
    }

    // Leaves out a client that a case is done with.
    async drop(client) {
        this.clients = this.clients.filter((other) => other !== client);
        await client.disconnect();
    }

    module(name) {
        return readFileSync(join(this.wasm, `${name}.wasm`));
    }

    // Makes something once, for all cases that build on it.
    once(name, make) {
        if (!this.fixtures.has(name)) {
            this.fixtures.set(name, make());
        }
        return this.fixtures.get(name);
    }

    // Whether the peers have a function, which they are asked.
    serves(name) {
        const [service, func] = name.split('.');
        return this.once(`serves ${name}`, async () => {
            const script = `(xor
                (seq
                    (call "${this.a.id}" ("${service}" "${func}") [] result)
                    (call %init_peer_id% ("callbackSrv" "response") [""]))
                (call %init_peer_id% ("callbackSrv" "response") [%last_error%.$.message]))`;
            const answer = await this.user.air(script);
            return !answer.includes(`Service with id '${service}' not found (function ${func})`);
        });
    }

    async stop() {
        const closing = this.clients.map((client) => client.disconnect());
        await Promise.race([Promise.allSettled(closing), new Promise((d) => setTimeout(d, 10_000))]);
        await Promise.all(this.peers.map((peer) => peer.stop()));
    }
}
