// Peers of ours, as processes.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const READY_MS = 60_000;

// No peer outlives this process.
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => process.exit(1));
}

// The published spell service and registry, and cores that workers share: a test machine has few.
function settings(modules) {
    const table = (name, key) => `[[system_services.${key}]]
name = "${name}"
path = "${join(modules, `${name}.wasm`)}"
`;
    return ['[dev_mode]\nenable = true\n']
        .concat(['sqlite3', 'spell'].map((name) => table(name, 'spell')))
        .concat(['sqlite3', 'registry'].map((name) => table(name, 'registry.modules')))
        .join('\n');
}

// What is to be known about the program: its flags, and whether it can host spells and system services.
export class Program {
    // `modules` is the folder of the published modules.
    constructor(binary, modules, folder) {
        this.binary = binary;
        const help = spawnSync(binary, ['--help'], { encoding: 'utf8' });
        if (help.status !== 0) {
            throw new Error(`${binary} --help: ${help.error ?? help.stderr}`);
        }
        const hasHttp = help.stdout.includes('--http-port');
        mkdirSync(folder, { recursive: true });
        const config = join(folder, 'peer.toml');
        writeFileSync(config, settings(modules));
        const accepted =
            help.stdout.includes('--check-config') && spawnSync(binary, ['--check-config', config]).status === 0;
        this.flags = hasHttp ? ['--http-port', '0'] : [];
        this.hostingFlags = accepted ? ['--config', config] : [];
    }
}

export class Peer {
    // `seed` is the secret of its key, `manager` may administrate it; with `hosting` it has the published modules.
    constructor({ program, folder, seed, manager, bootstrap = [], hosting = false }) {
        Object.assign(this, { program, folder, manager, bootstrap, hosting });
        this.tcpPort = 0;
        this.wsPort = 0;
        mkdirSync(folder, { recursive: true });
        this.keyFile = join(folder, 'key');
        writeFileSync(this.keyFile, seed.toString('base64'), { mode: 0o600 });
        this.log = join(folder, 'log');
    }

    async start() {
        const log = openSync(this.log, 'a');
        this.process = spawn(
            this.program.binary,
            [
                ...this.program.flags,
                ...(this.hosting ? this.program.hostingFlags : []),
                ...['--listen-ip', '127.0.0.1', '--allow-local-addresses', '--log', 'info'],
                ...['--tcp-port', `${this.tcpPort}`, '--websocket-port', `${this.wsPort}`],
                ...['--key-file', this.keyFile, '--data-dir', join(this.folder, 'data')],
                ...['--management-peer-id', this.manager],
                ...this.bootstrap.flatMap((address) => ['--bootstrap', address]),
            ],
            { stdio: ['ignore', 'pipe', log] },
        );
        closeSync(log);
        const child = this.process;
        running.add(child);
        this.ended = once(child, 'exit').then(() => running.delete(child));
        const late = setTimeout(() => this.process.kill('SIGKILL'), READY_MS);
        let ready = false;
        for await (const line of createInterface(this.process.stdout)) {
            const [word, rest] = line.split(' ');
            if (word === 'peer_id') {
                this.id = rest;
            } else if (word === 'listen' && rest.includes('/ws/')) {
                this.ws = rest;
            } else if (word === 'listen') {
                this.tcp = rest;
            } else if (line === 'ready') {
                ready = true;
                break;
            }
        }
        clearTimeout(late);
        if (!ready) {
            throw new Error(`a peer did not get ready, see ${this.log}`);
        }
        this.process.stdout.resume();
        // It keeps its ports over a restart: those are what clients know.
        this.tcpPort = Number(this.tcp.match(/\/tcp\/(\d+)/)[1]);
        this.wsPort = Number(this.ws.match(/\/tcp\/(\d+)/)[1]);
        return this;
    }

    async stop(signal = 'SIGTERM') {
        if (this.process && this.process.exitCode === null && this.process.signalCode === null) {
            this.process.kill(signal);
            await this.ended;
        }
    }
}
