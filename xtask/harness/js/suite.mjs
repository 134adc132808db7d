// Cases and what they check with.

import { isDeepStrictEqual } from 'node:util';

export const cases = [];

// Adds a case. `needs` names a function, `service.function`, without which the peer cannot pass it.
export function test(name, body, { needs, limitMs = 120_000 } = {}) {
    if (cases.some((other) => other.name === name)) {
        throw new Error(`two cases are called ${name}`);
    }
    cases.push({ name, body, needs, limitMs });
}

const shown = (value) => {
    if (value instanceof Error) {
        return `${value.name}: ${value.message}`;
    }
    const text = JSON.stringify(value) ?? String(value);
    return text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length} characters)` : text;
};

function fail(got, expected, what) {
    throw new Error(`${what ? `${what}: ` : ''}got ${shown(got)}, expected ${expected}`);
}

export function equal(got, expected, what) {
    if (!isDeepStrictEqual(got, expected)) {
        fail(got, shown(expected), what);
    }
}

export function check(condition, got, expected, what) {
    if (!condition) {
        fail(got, expected, what);
    }
}

export function matches(got, pattern, what) {
    check(typeof got === 'string' && pattern.test(got), got, `a text like ${pattern}`, what);
}

export const sorted = (values) => [...values].sort();

// What a call was rejected with.
export async function rejection(promise) {
    let result;
    try {
        result = await promise;
    } catch (error) {
        return error;
    }
    return fail(result, 'an error');
}

// The call fails in a function of a peer with this text; `prefix` allows more after it.
export async function refused(promise, text, { at, prefix = false, code = 10000 } = {}) {
    const error = await rejection(promise);
    const quoted = JSON.stringify(text);
    const start = `Local service error, ret_code is 1, error message is '`;
    const expected = start + (prefix ? quoted.slice(0, -1) : `${quoted}'`);
    const message = error?.message;
    check(
        typeof message === 'string' && (prefix ? message.startsWith(expected) : message === expected),
        error,
        `the message ${expected}${prefix ? '…' : ''}`,
    );
    equal(error.error_code, code, 'error_code');
    if (at !== undefined) {
        equal(error.peer_id, at, 'peer_id');
    }
    return error;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Asks again until the answer satisfies, at most for `limitMs`; the last answer.
export async function eventually(ask, satisfies, limitMs = 20_000) {
    const end = Date.now() + limitMs;
    for (;;) {
        const answer = await ask();
        if (satisfies(answer) || Date.now() > end) {
            return answer;
        }
        await sleep(200);
    }
}
