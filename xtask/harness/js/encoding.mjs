// Encodings written here once more, so that results are not compared with themselves.

import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export function toBase58(bytes) {
    let number = 0n;
    for (const byte of bytes) {
        number = number * 256n + BigInt(byte);
    }
    let text = '';
    while (number > 0n) {
        text = ALPHABET[Number(number % 58n)] + text;
        number /= 58n;
    }
    const zeros = [...bytes].findIndex((byte) => byte !== 0);
    return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}

export function fromBase58(text) {
    let number = 0n;
    for (const char of text) {
        number = number * 58n + BigInt(ALPHABET.indexOf(char));
    }
    const hex = number === 0n ? '' : number.toString(16);
    const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
    const zeros = [...text].findIndex((char) => char !== '1');
    return Buffer.concat([Buffer.alloc(zeros < 0 ? text.length : zeros), bytes]);
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

// Content identifier of a file of one chunk: version 1, raw, SHA-256, in base32.
export function rawCid(bytes) {
    const cid = Buffer.concat([Buffer.from([1, 0x55, 0x12, 0x20]), sha256(bytes)]);
    const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
    let text = 'b';
    let bits = 0;
    let value = 0;
    for (const byte of cid) {
        value = (value << 8) | byte;
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            text += alphabet[(value >> bits) & 31];
        }
        value &= (1 << bits) - 1;
    }
    return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}

// The peer id of an Ed25519 secret.
export function peerIdOfSeed(seed) {
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' });
    return toBase58(Buffer.concat([Buffer.from('002408011220', 'hex'), spki.subarray(-32)]));
}
