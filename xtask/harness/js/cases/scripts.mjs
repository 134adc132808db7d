// Where scripts run, how their values flow, and how they fail.

import { check, equal, matches, refused, rejection, sleep, sorted, test } from '../suite.mjs';

const ABSENT = '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5';

test('on the relay', async ({ user, other }) => {
    equal(await user.call('onRelay', 'on ', 'A'), 'on A');
    equal(await other.call('onRelay', 'on ', 'B'), 'on B');
});

test('on another peer', async ({ user, b }) => {
    equal(await user.call('onPeer', b.id, 'far'), ['far!', b.id]);
});

test('on a peer via a relay', async ({ user, a, b }) => {
    equal(await user.call('viaRelay', b.id, a.id, 'via a'), 'via a?');
    equal(await user.call('viaRelay', a.id, b.id, 'via b'), 'via b?');
});

test('on a peer via a list', async ({ user, a, b }) => {
    for (const path of [[], [a.id], [a.id, b.id], [b.id, a.id, b.id, a.id]]) {
        equal(await user.call('viaPath', b.id, path), b.id, `via ${path.length}`);
    }
});

test('on within on', async ({ user, a, b }) => {
    equal(await user.call('nestedOn', a.id, b.id), [a.id, b.id, a.id, a.id]);
    equal(await user.call('nestedOn', b.id, a.id), [b.id, a.id, b.id, b.id]);
});

test('on each of a list', async ({ user, a, b }) => {
    const path = [a.id, b.id, b.id, a.id, b.id];
    equal(await user.call('idsOnTheWay', path), path);
});

test('back and forth', async ({ user, b }) => {
    equal(await user.call('backAndForth', b.id, [1, 2, 3, 4, 5, 6]), [3, 5, 7, 9, 11, 13]);
});

test('two peers in parallel', async ({ user, a, b }) => {
    equal(await user.call('parallel', a.id, b.id), [a.id, b.id]);
});

test('for … par over peers', async ({ user, a, b }) => {
    const peers = [a.id, b.id, a.id, b.id];
    equal(sorted(await user.call('parallelPeers', peers, peers.length)), sorted(peers));
});

test('for over a list', async ({ user }) => {
    const xs = Array.from({ length: 12 }, (_, index) => `x${index}`);
    equal(await user.call('foldSeq', xs), xs.map((x) => x + x));
    equal(await user.call('foldSeq', []), []);
});

test('for … par over a list', async ({ user }) => {
    const xs = Array.from({ length: 12 }, (_, index) => `y${index}`);
    equal(sorted(await user.call('foldPar', xs, xs.length - 1)), sorted(xs.map((x) => x + x)));
});

test('for within for … par on peers', async ({ user, a, b }) => {
    const xs = ['1', '2', '3'];
    const expected = [a.id, b.id].flatMap((peer) => xs.map((x) => peer + x));
    equal(sorted(await user.call('foldParOn', [a.id, b.id], xs, 5)), sorted(expected));
});

test('for within for', async ({ user }) => {
    equal(await user.call('foldPairs', [1, 2, 3], [10, 20]), [[10, 20], [20, 40], [30, 60]]);
});

test('a race that the peer wins', async ({ user, b }) => {
    equal(await user.call('race', b.id, 20_000), 'answer');
});

test('a race that the timeout wins', async ({ user, b }) => {
    equal(await user.call('raceLost', b.id, 300, 20_000), 'timeout');
});

test('a race against an absent peer', async ({ user }) => {
    const start = Date.now();
    equal(await user.call('race', ABSENT, 500), 'timeout');
    const took = Date.now() - start;
    check(took >= 500 && took < 20_000, took, '500 ms and little more');
});

test('join of a slow and a fast value', async ({ user, b }) => {
    equal(sorted(await user.call('joinTwo', b.id, 400)), ['quick', 'slow']);
});

test('what came in time', async ({ user, a, b }) => {
    const got = await user.call('partial', [a.id, ABSENT, b.id], 2, 1500);
    equal(sorted(got), sorted([a.id, b.id]));
});

test('values in the order of their arrival', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('slowAndFast', peer), ['first', 'second', 'third']);
    }
});

test('a stream that feeds itself', async ({ user, a }) => {
    // On the relay only: where a peer gets the first value from another one, no interpreter, the published one
    // neither, comes to an end with more than two values.
    equal(await user.call('countdown', a.id, 7), [7, 6, 5, 4, 3, 2, 1, 0]);
});

test('canonicalisation on the second of two peers', async ({ user, a, b }) => {
    equal(await user.call('gatherTwo', a.id, b.id, 2), [2, ['from a', 'from b']]);
});

test('canonicalisation on a third peer', async ({ user, other, a, b }) => {
    equal(await user.call('canonOnThird', b.id, other.id === a.id ? b.id : a.id), '["xy","xy"]');
    equal(await other.call('canonOnThird', a.id, b.id), '["xy","xy"]');
});

test('canonicalisation of an empty stream', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('emptyStream', peer), [[], 0]);
    }
});

test('an index that is computed', async ({ user }) => {
    for (const index of [0, 1, 2]) {
        equal(await user.call('indexed', ['a', 'b', 'c'], index), 'abc'[index]);
    }
});

test('operators', async ({ user }) => {
    equal(await user.call('arithmetic', 17, 5), [22, 12, 85, 3, 2, 4913, 41]);
    equal(await user.call('arithmetic', -4, 2), [-2, -6, -8, -2, 0, -64, -7]);
});

test('branches', async ({ user }) => {
    for (const [n, expected] of [
        [-1, 'negative'],
        [0, 'zero'],
        [1, 'small'],
        [42, 'large'],
        [100, 'large'],
        [1000, 'small'],
    ]) {
        equal(await user.call('branches', n), expected, `${n}`);
    }
});

test('equality', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('equality', 'x', 'x', peer), 'x is the same');
        equal(await user.call('equality', 'x', 'y', peer), 'x differs');
    }
});

test('options', async ({ user, a }) => {
    equal(await user.call('options', null), ['none', null]);
    equal(await user.call('options', 'some'), ['some', 'some']);
    equal(await user.call('firstOf', a.id, 'nobody has this name'), null);
});

test('structs', async ({ user, a, b }) => {
    const inner = { flag: false, numbers: [] };
    const given = { name: 'given', inner, list: [], maybe: 'text', ratio: -2.25 };
    for (const peer of [a.id, b.id]) {
        const [made, text, copy] = await user.call('structs', peer, given);
        const own = { flag: true, numbers: [1, -2, 3] };
        const expected = { name: 'made', inner: own, list: [own, inner], maybe: null, ratio: 0.5 };
        equal(made, expected);
        equal(JSON.parse(text), { ...expected, maybe: [] });
        equal(JSON.parse(copy), { ...given, name: 'copy', list: [own], maybe: ['text'] });
    }
});

test('arrays', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('arrays', peer, 'x', [['p', 'q']]), [[['x'], ['p', 'q'], []], 3]);
    }
});

test('texts and numbers', async ({ user, a, b }) => {
    for (const [text, big, small, ratio, yes] of [
        ['', 0, 0, 0, false],
        ['"\\\n\t\u0000\u0001 ü 🌊 \u2028', Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0.1, true],
        ['</script>', 2 ** 32, -(2 ** 31), -1e-7, true],
        ['(call %init_peer_id%)', 1, -1, 1.7976931348623157e308, false],
    ]) {
        for (const peer of [a.id, b.id]) {
            const got = await user.call('textAndNumbers', peer, text, big, small, ratio, yes);
            equal(got, [text, big, small, ratio, yes]);
        }
    }
});

test('several results', async ({ user, b }) => {
    equal(await user.call('returnMany', b.id), ['ab', 7, [true, false], 3, null]);
});

test('no result', async ({ user, b }) => {
    equal(await user.call('nothing', b.id), null);
});

test('timestamp and ttl of the particle', async ({ user, b }) => {
    const before = Date.now();
    const [text, timestamp, ttl] = await user.callFor(23_456, 'timestampAndTtl', b.id);
    equal(ttl, 23_456);
    check(timestamp >= before && timestamp <= Date.now(), timestamp, 'the time of the call');
    equal(text, `[${timestamp},${ttl}]`);
});

test('initiator and relay as values', async ({ user, other, a, b }) => {
    equal(await user.call('initAndHost', b.id), [user.id, a.id]);
    equal(await other.call('initAndHost', a.id), [other.id, b.id]);
});

test('callbacks', async ({ user, b }) => {
    const steps = [];
    const got = await user.call(
        'callbacks',
        b.id,
        [3, 1, 2],
        (number, text) => {
            steps.push([number, text]);
        },
        async (question) => {
            await sleep(50);
            return `${question} yes`;
        },
    );
    equal(got, 'ready? yes');
    equal(steps, [[3, '3'], [1, '1'], [2, '2']]);
});

test('a callback between two calls of a peer', async ({ user, b }) => {
    equal(await user.call('callbackInBetween', b.id, (text) => `${text}c`), 'abcd');
});

test('try and catch', async ({ user, a }) => {
    equal(await user.call('caught'), [
        `Local service error, ret_code is 1, error message is '"Service with id 'no-such-service' not found (function call)"'`,
        10000,
        a.id,
        'call -relay- ("no-such-service" "call") ["x"] ret',
    ]);
});

test('try on a peer, catch on the client', async ({ user, b }) => {
    equal(await user.call('caughtOnPeer', b.id), [
        `Local service error, ret_code is 1, error message is '"i64 div overflow"'`,
        10000,
        b.id,
        user.id,
    ]);
});

test('otherwise', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('otherwise', peer), 'otherwise');
    }
});

test('an error within catch', async ({ user, b }) => {
    await refused(
        user.call('rethrown', b.id),
        "Error: Service with alias 'nobody has this name' is not found on worker '",
        { at: b.id, prefix: true },
    );
});

test('an error of the relay', async ({ user, a }) => {
    const error = await refused(
        user.call('failsOnRelay', 'x'),
        "Service with id 'no-such-service' not found (function call)",
        { at: a.id },
    );
    equal(error.instruction, 'call -relay- ("no-such-service" "call") [-a-arg-] ret');
});

test('an error of another peer', async ({ user, other, a, b }) => {
    for (const [client, peer] of [[user, b], [other, a]]) {
        const error = await refused(client.call('failsOnPeer', peer.id), 'i64 div overflow', { at: peer.id });
        equal(error.instruction, 'call -p-arg- ("math" "div") [1 0] ret');
    }
});

test('an error of the client', async ({ user }) => {
    user.offer('Local', 'local-thing', {
        answer: (question) => question,
        fail: (text) => {
            throw new Error(`failed for ${text}`);
        },
    });
    const error = await rejection(user.call('failsLocally', 'it'));
    equal(error.error_code, 10000);
    equal(error.peer_id, user.id);
    matches(error.message, /Service call failed\. fnName=.*fail.* serviceId=.*local-thing.* error: .*failed for it!/);
});

test('an error in one of two branches', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        equal(await user.call('silentFailure', peer), 'still here');
    }
});

test('an error that a script makes', async ({ user, a }) => {
    const error = await rejection(
        user.air(`(xor
            (seq
                (call "${a.id}" ("op" "noop") [])
                (fail 1337 "made by the script"))
            (call %init_peer_id% ("errorHandlingSrv" "error") [:error: 0]))`),
    );
    equal(error.error_code, 10006);
    matches(error.message, /1337.*made by the script/);
});

test('match and mismatch', async ({ user, a }) => {
    const script = (instruction) => `(xor
        (seq
            (call "${a.id}" ("op" "concat_strings") ["a" "b"] x)
            (${instruction} x "ab" (call %init_peer_id% ("callbackSrv" "response") ["inside"])))
        (call %init_peer_id% ("callbackSrv" "response") [:error:.$.error_code]))`;
    equal(await user.air(script('match')), 'inside');
    equal(await user.air(script('mismatch')), 10002);
});

test('a script without an end', async ({ user, a, b }) => {
    for (const peer of [a.id, b.id]) {
        const error = await rejection(user.callFor(1500, 'never', peer));
        matches(error.message, /^Particle expired after ttl of 1500ms \(particle id: [0-9a-f-]{36}\)$/);
    }
});

test('a peer that nobody knows', async ({ user }) => {
    const error = await rejection(user.callFor(2000, 'onPeer', ABSENT, 'x'));
    matches(error.message, /^Particle expired after ttl of 2000ms/);
});

test('a value made on one peer, used on the other', async ({ user, other, a, b }) => {
    const text = 'x'.repeat(10_000);
    equal(await user.call('echoTwice', a.id, b.id, text), text);
    equal(await other.call('echoTwice', a.id, b.id, text), text);
});

test('AIR by hand: a map, a lens, a canon', async ({ user, a }) => {
    const script = `(seq
        (seq
            (seq
                (ap ("key" "value") %map)
                (ap ("list" 5) %map))
            (seq
                (canon "${a.id}" %map  object)
                (call "${a.id}" ("debug" "stringify") [object] text)))
        (call %init_peer_id% ("callbackSrv" "response") [text object.$.key]))`;
    const [text, value] = await user.air(script);
    equal(JSON.parse(text), { key: 'value', list: 5 });
    equal(value, 'value');
});
