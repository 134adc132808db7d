// Builtins of nox that aqua-lib does not declare, and calls that no declaration allows.

import { sha256, toBase58 } from '../encoding.mjs';
import { check, equal, matches, refused, rejection, sorted, test } from '../suite.mjs';

const ann = { name: 'Ann', age: 30 };

test('json.obj', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('jsonObj', peer, 'Ann', 30), ann);
    }
    await refused(
        user.call('jsonOdd', a.id),
        "Expected odd number of arguments, got even. No value for key 'lonely'",
    );
});

test('json.put', async ({ user, a }) => {
    equal(await user.call('jsonPut', a.id, ann, 31), { name: 'Ann', age: 31 });
});

test('json.puts', async ({ user, a }) => {
    equal(await user.call('jsonPuts', a.id, ann, 'Bob', 5), { name: 'Bob', age: 5 });
});

test('json.parse', async ({ user, a }) => {
    equal(await user.call('jsonParse', a.id, '{"age": 30, "name": "Ann", "more": [1.5, null]}'), ann);
    await refused(user.call('jsonParse', a.id, '{"age": '), 'Error: error parsing json {"age": ', { prefix: true });
    await refused(user.call('jsonTwo', a.id), 'expected 1 arguments, got 2');
});

test('json.stringify', async ({ user, a }) => {
    const text = await user.call('jsonStringify', a.id, ann);
    equal(JSON.parse(text), ann);
    check(!text.includes(' '), text, 'a compact text');
});

test('json.obj_pairs', async ({ user, a }) => {
    const pairs = [['name', 'Ann'], ['age', 'thirty']];
    equal(await user.call('jsonObjPairs', a.id, pairs), { name: 'Ann', age: 'thirty' });
});

test('json.puts_pairs', async ({ user, a }) => {
    equal(await user.call('jsonPutsPairs', a.id, ann, [['name', 'Eve']]), { name: 'Eve', age: 30 });
    equal(await user.call('jsonPutsPairs', a.id, ann, []), ann);
});

test('array.slice', async ({ user, a }) => {
    const xs = ['a', 'b', 'c', 'd'];
    equal(await user.call('arraySlice', a.id, xs, 1, 3), ['b', 'c']);
    equal(await user.call('arraySlice', a.id, xs, 0, 4), xs);
    equal(await user.call('arraySlice', a.id, [], 3, 9), []);
    await refused(
        user.call('arraySlice', a.id, xs, 2, 9),
        'slice indexes out of bounds. start index: 2, end index: 9, array length: 4',
    );
    await refused(
        user.call('arraySlice', a.id, xs, -1, 2),
        'second argument (start index) must be an unsigned integer, was -1',
    );
});

test('array.length', async ({ user, a }) => {
    equal(await user.call('arrayLength', a.id, ['x', 'y']), 2);
});

test('kad.neigh_with_addrs', async ({ user, a, b }) => {
    const key = toBase58(Buffer.from('key'));
    const [near, ...rest] = await user.call('neighAddresses', a.id, key);
    equal(rest, []);
    equal(near.peer_id, b.id);
    check(
        near.addresses.some((address) => b.tcp.startsWith(address.replace(/\/p2p\/.*/, ''))),
        near.addresses,
        `a list with ${b.tcp}`,
    );
});

test('op.sha256_string with options', async ({ user, a }) => {
    const digest = sha256('text');
    equal(await user.call('sha256Digest', a.id, 'text', true), toBase58(digest));
    equal(await user.call('sha256Bytes', a.id, 'text', true), [...digest]);
    equal(await user.call('sha256Bytes', a.id, 'text', false), [0x12, 0x20, ...digest]);
});

test('debug.stringify of any number of values', async ({ user, a }) => {
    equal(await user.call('nothingToStringify', a.id), '"<empty argument list>"');
    equal(await user.call('manyToStringify', a.id), '["a",1,["b"]]');
});

for (const [name, func, text, prefix = false] of [
    ['identity of two', 'identityOfTwo', 'identity accepts up to 1 arguments, received 2 arguments'],
    [
        'concat_strings of a number',
        'concatStringsOfNumber',
        "all arguments of 'concat_strings' must be strings: argument #1 is not",
    ],
    ['concat of a text', 'concatOfText', "all arguments of 'concat' must be arrays: argument #1 is not"],
    ['array_length of a text', 'lengthOfText', "op array_length's argument must be an array"],
    ['add of one', 'addOfOne', 'expected 2 arguments, got 1'],
    ['add of a text', 'addOfText', "Error: Error deserializing field 'y': expected i64, got \"two\"", true],
    [
        'bytes over 255',
        'numberToB58',
        "Error: Error deserializing field 'bytes': expected Vec<u8>, got [256]",
        true,
    ],
    [
        'timeout of nothing',
        'timeoutOfNothing',
        "Error: Field 'duration_ms' is missing from args to call_service",
        true,
    ],
    [
        'is_connected of a number',
        'connectedOfNumber',
        "Error: Error deserializing field 'peer_id': expected String, got 5",
        true,
    ],
    ['a function that no service has', 'noSuchFunction', "Service with id 'op' not found (function unheard_of)"],
    ['a service that nobody has', 'noSuchService', "Service with id 'nobody' not found (function home)"],
]) {
    test(`error: ${name}`, async ({ user, a }) => {
        await refused(user.call(func, a.id), text, { at: a.id, prefix });
    });
}

test('sig.sign of nothing', async ({ manager, a }) => {
    const answer = await manager.call('signNothing', a.id);
    equal(answer.success, false);
    equal(sorted(Object.keys(answer)), ['error', 'success']);
});

test(
    'vm.status',
    async ({ user, a }) => {
        const error = await rejection(user.call('vmStatus', a.id));
        matches(error.message, /This feature is disabled|This function is only available on workers/);
    },
    { needs: 'vm.status' },
);
