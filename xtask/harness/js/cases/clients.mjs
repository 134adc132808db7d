// Clients behind relays that answer one another.

import { equal, matches, rejection, sorted, test } from '../suite.mjs';

const answering = (name) => ({
    answer: (question) => `${name}: ${question}`,
    fail: (text) => {
        throw new Error(text);
    },
});

test('a client asks another at the same relay', async (network) => {
    const { user, a } = network;
    const second = await network.client(a);
    second.offer('Local', 'local-thing', answering('second'));
    equal(await user.call('askClient', second.id, a.id, 'who?'), 'second: who?');
    await network.drop(second);
});

test('a client asks another at another relay', async ({ user, other, a, b }) => {
    other.offer('Local', 'local-thing', answering('other'));
    user.offer('Local', 'local-thing', answering('user'));
    equal(await user.call('askClient', other.id, b.id, 'who?'), 'other: who?');
    equal(await other.call('askClient', user.id, a.id, 'who?'), 'user: who?');
});

test('a conversation of two clients', async ({ user, other, b }) => {
    other.offer('Local', 'local-thing', answering('other'));
    user.offer('Local', 'local-thing', answering('user'));
    equal(await user.call('chat', other.id, b.id, ['1', '2', '3']), [
        'user: other: 1',
        'user: other: 2',
        'user: other: 3',
    ]);
});

test('a client asks several in parallel', async (network) => {
    const { user, a } = network;
    const answerers = await Promise.all([1, 2, 3].map(() => network.client(a)));
    answerers.forEach((client, index) => client.offer('Local', 'local-thing', answering(`${index}`)));
    const ids = answerers.map((client) => client.id);
    const got = await user.call('askClients', ids, a.id, 'name', ids.length - 1);
    equal(sorted(got), ['0: name', '1: name', '2: name']);
    await Promise.all(answerers.map((client) => network.drop(client)));
});

test('a client asks for a service that the other has not', async (network) => {
    const { user, a } = network;
    const second = await network.client(a);
    const error = await rejection(user.call('askClient', second.id, a.id, 'who?'));
    equal(error.peer_id, second.id);
    equal(error.error_code, 10000);
    matches(error.message, /No service found for service call: serviceId='local-thing', fnName='answer'/);
    await network.drop(second);
});

test('30 calls of one client at once', async ({ user, b }) => {
    const words = Array.from({ length: 30 }, (_, index) => `word ${index}`);
    const got = await Promise.all(words.map((word) => user.call('onPeer', b.id, word)));
    equal(got, words.map((word) => [`${word}!`, b.id]));
});

test('calls do not wait for a slow one', async ({ user, a }) => {
    const slow = user.call('timeout', a.id, 4000, 'slow');
    let slowIsDone = false;
    void slow.then(() => {
        slowIsDone = true;
    });
    equal(await user.call('onRelay', 'qu', 'ick'), 'quick');
    equal(slowIsDone, false, 'the slow call has ended');
    equal(await slow, 'slow');
});
