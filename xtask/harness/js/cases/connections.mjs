// Large values, many clients, relays that come and go.

import { check, equal, matches, rejection, sleep, eventually, test } from '../suite.mjs';

// Clients that start at the same time.
const STARTING = 2;

test('a text of 128 KiB with a ttl of a minute', async ({ user }) => {
    const text = Array.from({ length: 128 * 1024 }, (_, index) => String.fromCharCode(97 + ((index * 7) % 26))).join('');
    const got = await user.callFor(60_000, 'echo', text);
    equal([got.length, got === text], [text.length, true]);
});

test('a text of 128 KiB over two peers', async ({ user, a, b }) => {
    const text = 'ä'.repeat(64 * 1024);
    const got = await user.callFor(60_000, 'echoTwice', a.id, b.id, text);
    equal([got.length, got === text], [text.length, true]);
});

test('50 clients at once', async (network) => {
    const relays = [network.a, network.b];
    const clients = [];
    // Each client compiles an interpreter for itself, and gives up when that takes ten seconds.
    const connect = async (start) => {
        for (let index = start; index < 50; index += STARTING) {
            clients[index] = await network.client(relays[index % 2]);
        }
    };
    await Promise.all(Array.from({ length: STARTING }, (_, start) => connect(start)));
    try {
        const got = await Promise.all(
            clients.map((client, index) => client.callFor(60_000, 'echo', `client ${index}`)),
        );
        equal(got, clients.map((_, index) => `client ${index}`));
        equal(new Set(clients.map((client) => client.id)).size, 50);
        // And they are all there still.
        const connected = await Promise.all(
            clients.map((client, index) =>
                network.manager.callFor(60_000, 'isConnected', relays[index % 2].id, client.id),
            ),
        );
        equal(connected.filter((one) => !one).length, 0, 'clients that are not connected');
    } finally {
        await Promise.all(clients.map((client) => network.drop(client)));
    }
}, { limitMs: 300_000 });

test('a client that leaves is gone', async (network) => {
    const { user, a } = network;
    const client = await network.client(a);
    equal(await user.call('isConnected', a.id, client.id), true);
    await network.drop(client);
    const gone = await eventually(() => user.call('isConnected', a.id, client.id), (connected) => !connected);
    equal(gone, false);
});

test('a client that comes back', async (network) => {
    const { user, a } = network;
    const seed = Uint8Array.from({ length: 32 }, (_, index) => index + 1);
    const options = { keyPair: { type: 'Ed25519', source: seed } };
    const ids = [];
    for (let round = 0; round < 3; round += 1) {
        const client = await network.client(a, options);
        ids.push(client.id);
        equal(await client.call('echo', `round ${round}`), `round ${round}`);
        equal(await user.call('isConnected', a.id, client.id), true);
        await network.drop(client);
    }
    equal(new Set(ids).size, 1);
});

test('a client with two connections', async (network) => {
    const { a } = network;
    const seed = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
    const options = { keyPair: { type: 'Ed25519', source: seed } };
    const first = await network.client(a, options);
    const second = await network.client(a, options);
    equal(first.id, second.id);
    // Answers go to the newer one.
    equal(await second.call('echo', 'second'), 'second');
    await network.drop(first);
    equal(await second.call('echo', 'still there'), 'still there');
    await network.drop(second);
});

test('the relay restarts', async (network) => {
    const relay = await network.peer('restarted', { bootstrap: [network.a.tcp] });
    const client = await network.client(relay);
    const manager = await network.client(relay, network.managerKey());
    equal(await client.call('echo', 'before'), 'before');
    const module = network.module('greeting').toString('base64');
    const made = await manager.callFor(60_000, 'deploy', relay.id, 'greeting', module);

    await relay.stop();
    const error = await rejection(client.callFor(2000, 'echo', 'meanwhile'));
    matches(error.message, /^(Could not send particle|Particle expired after ttl of 2000ms)/);

    await relay.start();
    equal(relay.id, client.relay);
    const answer = await eventually(
        () => client.callFor(5000, 'echo', 'after').catch((failure) => failure.message),
        (text) => text === 'after',
    );
    equal(answer, 'after');
    // What was deployed is there again, and the other peers are.
    equal(await client.call('greet', relay.id, 'greeting', 'Ann'), 'Hi, Ann');
    equal(await client.call('resolveAlias', relay.id, 'greeting'), made[2]);
    const far = await eventually(
        () => client.callFor(5000, 'onPeer', network.a.id, 'far').catch((failure) => failure.message),
        (got) => Array.isArray(got),
    );
    equal(far, ['far!', network.a.id]);
    await network.drop(client);
    await network.drop(manager);
    await relay.stop();
});

test('the relay is killed and starts again', async (network) => {
    const relay = await network.peer('killed');
    const client = await network.client(relay);
    const manager = await network.client(relay, network.managerKey());
    const module = network.module('greeting').toString('base64');
    await manager.callFor(60_000, 'deploy', relay.id, 'greeting', module);
    await relay.stop('SIGKILL');
    await relay.start();
    const answer = await eventually(
        () => client.callFor(5000, 'greet', relay.id, 'greeting', 'Ann').catch((failure) => failure.message),
        (text) => text === 'Hi, Ann',
    );
    equal(answer, 'Hi, Ann');
    await network.drop(client);
    await network.drop(manager);
    await relay.stop();
});

test('a quiet client stays connected', async ({ user, a, quiet, quietSince }) => {
    // Longer than the pauses between the pings of either side.
    await sleep(Math.max(0, quietSince + 35_000 - Date.now()));
    equal(await user.call('isConnected', a.id, quiet.id), true);
    equal(await quiet.call('echo', 'awake'), 'awake');
});

test('states of a connection', async (network) => {
    const { createClient } = await import('@fluencelabs/js-client');
    const peer = await createClient(network.a.ws);
    const states = [];
    states.push(peer.onConnectionStateChange((state) => states.push(state)));
    check(states[0] === 'connected', states, 'connected');
    await peer.disconnect();
    equal(states, ['connected', 'disconnecting', 'disconnected']);
});
