// The functions of aqua-lib on a relay, called as their published declarations say.

import { fromBase58, sha256, toBase58 } from '../encoding.mjs';
import { check, equal, matches, refused, sorted, test } from '../suite.mjs';

// A case for a function whose results depend on its arguments only: rows of arguments and result. The same is asked
// of both peers; where a row ends with `relay`, the client, which is asked too, has other results.
function pure(name, func, rows) {
    test(name, async ({ user, a, b }) => {
        for (const [args, expected, where] of rows) {
            for (const peer of where === 'relay' ? [a.id, b.id] : [a.id, b.id, user.id]) {
                const got = await user.call(func, peer, ...args);
                equal(got, expected, `${name}(${JSON.stringify(args).slice(1, -1)})`);
            }
        }
    });
}

// A case for calls that fail with these texts.
function failing(name, rows) {
    test(name, async ({ user, a }) => {
        for (const [func, args, text, options] of rows) {
            await refused(user.call(func, a.id, ...args), text, { at: a.id, ...options });
        }
    });
}

const bytes = (text) => [...Buffer.from(text)];
const hash = (text) => toBase58(Buffer.concat([Buffer.from([0x12, 0x20]), sha256(text)]));

pure('op.noop', 'opNoop', [[[], 'done']]);
pure('op.array_length', 'opArrayLength', [
    [[[]], 0],
    [[['a', 'b', 'c']], 3],
]);
pure('op.array', 'opArray', [[['a', '', 'ü', 'd'], ['a', '', 'ü', 'd']]]);
pure('op.concat', 'opConcat', [
    [[['a'], [], ['b', 'c'], ['d']], ['a', 'b', 'c', 'd']],
    [[[], [], [], []], []],
]);
pure('op.identity', 'opIdentity', [
    [['text'], 'text'],
    [[null], null],
]);
pure('op.string_to_b58', 'opStringToB58', [
    [['hello'], 'Cn8eVZg'],
    [['grüße 🌊'], toBase58(Buffer.from('grüße 🌊'))],
    [[''], ''],
]);
pure('op.string_from_b58', 'opStringFromB58', [
    [['Cn8eVZg'], 'hello'],
    [[toBase58(Buffer.from('grüße 🌊'))], 'grüße 🌊'],
]);
pure('op.bytes_to_b58', 'opBytesToB58', [
    [[bytes('hello')], 'Cn8eVZg'],
    [[[0, 0, 255, 1]], toBase58([0, 0, 255, 1])],
]);
pure('op.bytes_from_b58', 'opBytesFromB58', [
    [['Cn8eVZg'], bytes('hello')],
    [['11LF'], [...fromBase58('11LF')]],
]);
pure('op.sha256_string', 'opSha256', [
    [['hello'], hash('hello')],
    [[''], hash('')],
]);
pure('op.concat_strings', 'opConcatStrings', [
    [['con', 'cat'], 'concat'],
    [['', '"quotes" and \\ and \n'], '"quotes" and \\ and \n'],
]);
failing('errors of op', [
    ['opStringFromB58', ['0'], 'Error: decode base58 failed: ', { prefix: true }],
    ['opBytesFromB58', ['l'], 'Error: decode base58 failed: ', { prefix: true }],
    ['opStringFromB58', [toBase58([0xff, 0xfe])], 'Error: decode from bytes to UTF8 failed: ', { prefix: true }],
]);

pure('math.add', 'mathAdd', [
    [[2, 3], 5],
    [[-2, 3], 1],
    [[2 ** 52, 1], 2 ** 52 + 1],
]);
pure('math.sub', 'mathSub', [
    [[2, 3], -1],
    [[0, -7], 7],
]);
pure('math.mul', 'mathMul', [
    [[6, -7], -42],
    [[0, 5], 0],
]);
pure('math.fmul', 'mathFmul', [
    [[0.5, 7], 3],
    [[1.5, -1], -2],
    [[1.25, 100], 125],
]);
pure('math.div', 'mathDiv', [
    [[7, 2], 3],
    [[9, 3], 3],
    [[-7, 2], -3, 'relay'],
]);
pure('math.rem', 'mathRem', [
    [[7, 3], 1],
    [[-7, 3], -1],
]);
pure('math.pow', 'mathPow', [
    [[2, 10], 1024],
    [[-3, 3], -27],
    [[5, 0], 1],
]);
pure('math.log', 'mathLog', [
    [[2, 8], 3],
    [[2, 9], 3, 'relay'],
    [[10, 99999], 4, 'relay'],
]);
failing('errors of math', [
    ['mathAdd', [2 ** 62, 2 ** 62], 'i64 add overflow'],
    ['mathSub', [-(2 ** 62), 2 ** 62 + 2048], 'i64 add overflow'],
    ['mathMul', [2 ** 40, 2 ** 40], 'i64 mul overflow'],
    ['mathDiv', [1, 0], 'i64 div overflow'],
    ['mathRem', [1, 0], 'i64 rem overflow'],
    ['mathPow', [10, 30], 'i64 pow overflow'],
    ['mathLog', [2, 0], 'i64 log overflow'],
    ['mathLog', [1, 5], 'i64 log overflow'],
]);

for (const [name, func, results] of [
    ['cmp.gt', 'cmpGt', [false, false, true]],
    ['cmp.gte', 'cmpGte', [false, true, true]],
    ['cmp.lt', 'cmpLt', [true, false, false]],
    ['cmp.lte', 'cmpLte', [true, true, false]],
    ['cmp.cmp', 'cmpCmp', [-1, 0, 1]],
]) {
    pure(name, func, [
        [[-5, 3], results[0]],
        [[3, 3], results[1]],
        [[4, 3], results[2]],
    ]);
}

pure('array.sum', 'arraySum', [
    [[[1, -2, 30]], 29],
    [[[]], 0],
]);
pure('array.dedup', 'arrayDedup', [[[['b', 'a', 'b', 'c', 'a']], ['b', 'a', 'c']]]);
for (const [name, func, expected] of [
    ['array.intersect', 'arrayIntersect', ['b', 'c']],
    ['array.diff', 'arrayDiff', ['a']],
    ['array.sdiff', 'arraySdiff', ['a', 'd']],
]) {
    test(name, async ({ user, a, b }) => {
        for (const peer of [a.id, b.id, user.id]) {
            // The client keeps what occurs twice.
            const twice = peer === user.id ? [] : ['b'];
            const got = await user.call(func, peer, ['a', 'b', 'c', ...twice], ['c', 'd', 'b']);
            equal(sorted(got), expected);
        }
    });
}

pure('debug.stringify', 'stringify', [
    [['text'], '"text"'],
    [[[1, [2, null]]], '[1,[2,null]]', 'relay'],
    [[{ b: 0.5, a: [true] }], '{"a":[true],"b":0.5}', 'relay'],
]);

test(
    'run-console.print',
    async ({ user, manager, a }) => {
        equal(await manager.call('print', a.id, 'printed by the manager'), 'printed');
        await refused(
            user.call('print', a.id, 'printed by a stranger'),
            'This function is only available to the host or worker spells',
            { at: a.id },
        );
    },
    { needs: 'run-console.print' },
);

test('peer.identify', async ({ user, a, b }) => {
    for (const peer of [a, b]) {
        const info = await user.call('identify', peer.id);
        equal(sorted(Object.keys(info)), [
            'air_version',
            'allowed_binaries',
            'external_addresses',
            'node_version',
            'spell_version',
        ]);
        for (const field of ['air_version', 'node_version', 'spell_version']) {
            matches(info[field], /\d+\.\d+/, field);
        }
        check(Array.isArray(info.allowed_binaries), info.allowed_binaries, 'a list');
        const own = info.external_addresses.map((address) => address.replace(/\/p2p\/.*/, ''));
        equal(sorted(own), sorted([peer.tcp, peer.ws].map((address) => address.replace(/\/p2p\/.*/, ''))));
    }
});

test('peer.timestamp_ms', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id, user.id]) {
        const before = Date.now();
        const got = await user.call('timestampMs', peer);
        check(got >= before && got <= Date.now(), got, `between ${before} and now`);
    }
});

test('peer.timestamp_sec', async ({ user, a }) => {
    const before = Math.floor(Date.now() / 1000);
    const got = await user.call('timestampSec', a.id);
    check(got >= before && got <= Date.now() / 1000, got, `between ${before} and now`);
});

test('peer.timeout', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id, user.id]) {
        const start = Date.now();
        equal(await user.call('timeout', peer, 300, 'it is late'), 'it is late');
        const took = Date.now() - start;
        check(took >= 300, took, 'at least 300 ms');
    }
});

test('peer.is_connected', async ({ user, other, a, b }) => {
    const absent = '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5';
    for (const [peer, of, expected] of [
        [a, user.id, true],
        [a, b.id, true],
        [b, a.id, true],
        [b, other.id, true],
        [b, user.id, false],
        [a, absent, false],
        [a, a.id, true],
    ]) {
        equal(await user.call('isConnected', peer.id, of), expected, `${of} at ${peer.id}`);
    }
});

test('peer.connect', async ({ user, manager, a, b }) => {
    const absent = '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5';
    equal(await manager.call('connect', a.id, b.id, [b.tcp]), true);
    equal(await manager.call('connect', a.id, absent, ['/ip4/127.0.0.1/tcp/1']), false);
    await refused(
        user.call('connect', a.id, b.id, [b.tcp]),
        'This function is only available to the host or worker spells',
        { at: a.id },
    );
});

test('peer.get_contact', async ({ user, a, b }) => {
    const contact = await user.call('getContact', a.id, b.id);
    equal(contact?.peer_id, b.id);
    const known = contact.addresses.map((address) => address.replace(/\/p2p\/.*/, ''));
    check(known.includes(b.tcp.replace(/\/p2p\/.*/, '')), known, `a list with ${b.tcp}`);
    equal(await user.call('getContact', a.id, '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5'), null);
});

test('kad.neighborhood', async ({ user, a, b }) => {
    const key = toBase58(Buffer.from('a key of the registry, as text'));
    equal(await user.call('neighborhood', a.id, key, null, null), [b.id]);
    equal(await user.call('neighborhood', b.id, key, false, null), [a.id]);
    equal(await user.call('neighborhood', a.id, a.id, true, 5), [b.id]);
    equal(await user.call('neighborhood', a.id, key, null, 0), []);
    await refused(user.call('neighborhood', a.id, key, true, null), 'Error: Invalid multihash', { prefix: true });
    await refused(user.call('neighborhood', a.id, '0', null, null), 'Error: decode base58 failed: ', { prefix: true });
});

test('kad.merge', async ({ user, a, b }) => {
    const target = toBase58(Buffer.from('target'));
    const names = Array.from({ length: 25 }, (_, index) => toBase58(Buffer.from(`peer ${index}`)));
    const distance = (name) => {
        const goal = sha256(fromBase58(target));
        return Buffer.from(sha256(fromBase58(name)).map((byte, index) => byte ^ goal[index])).toString('hex');
    };
    const near = [...names].sort((one, two) => (distance(one) < distance(two) ? -1 : 1));
    for (const peer of [a.id, b.id]) {
        const [left, right] = [names.slice(0, 15), names.slice(10)];
        equal(await user.call('merge', peer, target, left, right, null), near.slice(0, 20));
        equal(await user.call('merge', peer, target, left, right, 3), near.slice(0, 3));
        equal(await user.call('merge', peer, target, [], [], null), []);
    }
});

test('vault.put', async ({ user, a }) => {
    matches(
        await user.call('vaultPut', a.id, 'text'),
        /^\/tmp\/vault\/[0-9a-f-]{36}-[1-9A-HJ-NP-Za-km-z]{80,90}\/[0-9a-f-]{36}$/,
    );
});

test('vault.cat', async ({ user, a, b }) => {
    for (const text of ['some text', '', 'grüße 🌊\n']) {
        for (const peer of [a.id, b.id]) {
            const [path, got] = await user.call('vaultRoundTrip', peer, text);
            equal(got, text);
            // Another particle does not get at it.
            await refused(user.call('vaultCat', peer, path), `Error reading vault file \`${path}\``, { at: peer });
        }
    }
    for (const path of ['/etc/passwd', '/tmp/vault', '../../key', '']) {
        await refused(user.call('vaultCat', a.id, path), `Error reading vault file \`${path}\``);
    }
});

test('sig.get_peer_id', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id, user.id]) {
        equal(await user.call('sigPeerId', peer), peer);
    }
});

test('sig.sign', async ({ user, manager, a }) => {
    const data = [1, 2, 3];
    await refused(
        user.call('sigSign', a.id, data),
        `peer '${user.id}' is not allowed to sign data on '${a.id}'`,
    );
    await refused(
        manager.call('sigSign', a.id, data),
        `data is expected to be produced by service 'registry' on peer '${a.id}', was from peer '${manager.id}'`,
    );
    equal(await user.call('sigSign', user.id, data), {
        success: false,
        error: 'Security guard validation failed',
        signature: null,
    });
});

test(
    'sig.sign of a record',
    async ({ user, manager, a }) => {
        const [bytes, { success, error, signature }, verified] = await manager.call('signRecord', a.id, 'key', user.id);
        equal([success, error, signature?.length, verified], [true, null, 64, true]);
        check(bytes.length > 0, bytes, 'bytes of a record');
        await refused(
            user.call('signRecord', a.id, 'key', user.id),
            `peer '${user.id}' is not allowed to sign data on '${a.id}'`,
        );
    },
    { needs: 'registry.get_record_metadata_bytes' },
);

test('sig.verify', async ({ user, a, b, seeds }) => {
    const { KeyPair } = await import('@fluencelabs/js-client/keypair');
    const key = await KeyPair.fromEd25519SK(Uint8Array.from(seeds.a));
    equal(key.getPeerId(), a.id);
    const data = [...Buffer.from('signed by the relay')];
    const signature = [...(await key.signBytes(Uint8Array.from(data)))];
    equal(await user.call('sigVerify', a.id, signature, data), true);
    equal(await user.call('sigVerify', b.id, signature, data), false);
    equal(await user.call('sigVerify', a.id, signature, [...data, 0]), false);
    equal(await user.call('sigVerify', a.id, [], data), false);
});

test(
    'subnet.resolve',
    async ({ user, a }) => {
        const answer = await user.call('resolveSubnet', a.id, 'not a deal');
        equal(answer, { success: false, error: "Invalid deal id 'not a deal': invalid length", workers: [] });
    },
    { needs: 'subnet.resolve' },
);
