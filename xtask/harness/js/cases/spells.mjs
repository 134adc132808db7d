// Workers and spells. They are left out while the peer does not serve them.

import { createHash } from 'node:crypto';

import { check, equal, eventually, matches, refused, rejection, test } from '../suite.mjs';

const worker = { needs: 'worker.list' };
const spell = { needs: 'spell.list' };

const deal = (name) => createHash('sha256').update(name).digest('hex').slice(0, 40);
const unit = (name) => [...createHash('sha256').update(`unit of ${name}`).digest()];
const trigger = (start, end, period, connect = false, disconnect = false) => ({
    clock: { start_sec: start, end_sec: end, period_sec: period },
    connections: { connect, disconnect },
    blockchain: { start_block: 0, end_block: 0 },
});

// Stores what it was given, and tells how it was started.
const SCRIPT = `(xor
    (seq
        (seq
            (call %init_peer_id% ("getDataSrv" "greeted") [] greeted)
            (call %init_peer_id% ("op" "concat_strings") ["Hi, " greeted] text))
        (seq
            (call %init_peer_id% ("json" "obj") ["result" text] object)
            (call %init_peer_id% ("callbackSrv" "response") [object])))
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 0]))`;
const FAILING = `(xor
    (call %init_peer_id% ("nobody" "home") [])
    (call %init_peer_id% ("errorHandlingSrv" "error") [%last_error% 7]))`;

const made = (network, name) =>
    network.once(`worker ${name}`, () => network.manager.call('createWorker', network.a.id, deal(name), [unit(name)]));

test('worker.create', async (network) => {
    const { user, manager, a } = network;
    const id = await made(network, 'shared');
    matches(id, /^12D3KooW/);
    await refused(
        user.call('createWorker', a.id, deal('mine'), [unit('mine')]),
        'Only management or host peer can create worker',
        { prefix: true },
    );
    const error = await rejection(manager.call('createWorker', a.id, `0x${deal('shared').toUpperCase()}`, [unit('again')]));
    matches(error.message, /Worker for .* already exists/);
}, worker);

test('worker.get_worker_id', async (network) => {
    const id = await made(network, 'shared');
    const { user, a } = network;
    for (const spelling of [deal('shared'), `0x${deal('shared')}`, deal('shared').toUpperCase()]) {
        equal(await user.call('getWorker', a.id, spelling), id);
    }
    equal(await user.call('getWorker', a.id, deal('unknown')), null);
}, worker);

test('worker.list', async (network) => {
    const id = await made(network, 'shared');
    const ids = await network.user.call('listWorkers', network.a.id);
    check(ids.includes(id), ids, `a list with ${id}`);
    equal((await network.user.call('listWorkers', network.b.id)).includes(id), false);
}, worker);

test('worker.is_active', async (network) => {
    await made(network, 'shared');
    const { user, a } = network;
    equal(await user.call('isActive', a.id, deal('shared')), true);
    const error = await rejection(user.call('isActive', a.id, deal('unknown')));
    matches(error.message, /Worker for deal_id [0-9a-f]{40} not found/);
}, worker);

test('worker.deactivate', async (network) => {
    const id = await made(network, 'sleepy');
    const { user, manager, a } = network;
    await refused(user.call('deactivate', a.id, deal('sleepy')), 'Only management or host peer can deactivate deal', {
        prefix: true,
    });
    equal(await manager.call('deactivate', a.id, deal('sleepy')), 'deactivated');
    equal(await user.call('isActive', a.id, deal('sleepy')), false);
    const error = await rejection(manager.call('deactivate', a.id, deal('sleepy')));
    matches(error.message, /Deal has already been deactivated/);
    // Nobody but the manager gets through to it.
    matches((await rejection(user.callFor(2000, 'onWorker', a.id, id, 'x'))).message, /^Particle expired/);
    equal(await manager.call('onWorker', a.id, id, 'x'), [id, 'x!']);
}, worker);

test('worker.activate', async (network) => {
    const id = await made(network, 'awake');
    const { user, manager, a } = network;
    await refused(user.call('activate', a.id, deal('awake')), 'Only management or host peer can activate deal', {
        prefix: true,
    });
    matches((await rejection(manager.call('activate', a.id, deal('awake')))).message, /Deal has already been activated/);
    await manager.call('deactivate', a.id, deal('awake'));
    equal(await manager.call('activate', a.id, deal('awake')), 'activated');
    equal(await user.call('isActive', a.id, deal('awake')), true);
    equal(await user.call('onWorker', a.id, id, 'x'), [id, 'x!']);
}, worker);

test('a script on a worker', async (network) => {
    const id = await made(network, 'shared');
    const { user, other, a } = network;
    for (const client of [user, other]) {
        equal(await client.call('onWorker', a.id, id, 'hello'), [id, 'hello!']);
    }
    // Its services are its own.
    equal((await user.call('workerServices', a.id, id)).filter(({ worker_id: at }) => at !== id), []);
}, worker);

test('worker.remove', async (network) => {
    const id = await made(network, 'short-lived');
    const { user, manager, a } = network;
    const error = await rejection(user.call('removeWorker', a.id, id));
    matches(error.message, /can be removed only by worker creator/);
    equal(await manager.call('removeWorker', a.id, id), 'removed');
    equal(await user.call('getWorker', a.id, deal('short-lived')), null);
}, worker);

const install = ({ manager, a }, script, data, config, alias = null) =>
    manager.call('installSpell', a.id, script, { greeted: data }, config, alias);

test('a spell that runs once', async (network) => {
    const { user, a } = network;
    const id = await install(network, SCRIPT, 'Ann', trigger(1, 0, 0), 'once');
    equal(await user.call('resolveAlias', a.id, 'once'), id);
    const stored = await eventually(
        () => user.call('spellString', a.id, id, 'result'),
        ({ absent }) => absent === false,
    );
    equal(stored, { value: '"Hi, Ann"', success: true, error: '', absent: false });
    equal((await user.call('spellCounter', a.id, id)).value, 1);
    equal(await user.call('spellScript', a.id, 'once'), { value: SCRIPT, success: true, error: '' });
    equal(await network.manager.call('removeSpell', a.id, 'once'), 'removed');
}, spell);

test('a spell that runs every second', async (network) => {
    const { user, manager, a } = network;
    const id = await install(network, SCRIPT, 'Bob', trigger(1, 0, 1));
    const counter = await eventually(
        () => user.call('spellCounter', a.id, id),
        ({ value }) => value >= 3,
    );
    check(counter.value >= 3, counter, 'three runs');
    equal((await user.call('spellTrigger', a.id, id)).config, trigger(1, 0, 1));
    equal(await manager.call('updateTrigger', a.id, id, trigger(0, 0, 0)), 'updated');
    const { value } = await user.call('spellCounter', a.id, id);
    await new Promise((done) => setTimeout(done, 2500));
    const later = (await user.call('spellCounter', a.id, id)).value;
    check(later - value <= 1, later, `${value} or one more`);
    await manager.call('removeSpell', a.id, id);
}, spell);

test('a spell that fails keeps its errors', async (network) => {
    const { user, manager, a } = network;
    const id = await install(network, FAILING, '', trigger(1, 0, 0));
    const errors = await eventually(
        () => user.call('spellErrors', a.id, id),
        ({ particle_errors: entries }) => entries.length > 0,
    );
    const [{ particle_id: particle, errors: entries }] = errors.particle_errors;
    equal(particle, `spell_${id}_0`);
    equal([entries[0].error_idx, entries[0].last_error.error_code, entries[0].last_error.peer_id], [7, 10000, a.id]);
    matches(entries[0].last_error.message, /Service with id 'nobody' not found \(function home\)/);
    await manager.call('removeSpell', a.id, id);
}, spell);

test('a spell that runs when a client connects', async (network) => {
    const { user, manager, a } = network;
    const id = await install(network, SCRIPT, 'Eve', trigger(0, 0, 0, true, false));
    equal((await user.call('spellCounter', a.id, id)).absent, true);
    const client = await network.client(a);
    await eventually(() => user.call('spellCounter', a.id, id), ({ absent }) => absent === false);
    const event = JSON.parse((await user.call('spellString', a.id, id, 'hw_trigger')).value);
    equal(event, { timer: [], peer: [{ peer_id: client.id, connected: true }] });
    await network.drop(client);
    await manager.call('removeSpell', a.id, id);
}, spell);

test('the mailbox of a spell', async (network) => {
    const { user, manager, a } = network;
    const id = await install(network, SCRIPT, '', trigger(0, 0, 0));
    equal(await user.call('spellPush', a.id, id, 'first'), { success: true, error: '' });
    equal(await manager.call('spellPush', a.id, id, 'second'), { success: true, error: '' });
    const { messages } = await user.call('spellMailbox', a.id, id);
    equal(messages.map(({ init_peer_id: from, message }) => [from, message]), [
        [manager.id, 'second'],
        [user.id, 'first'],
    ]);
    await manager.call('removeSpell', a.id, id);
}, spell);

test('what spells are refused', async (network) => {
    const { user, manager, a } = network;
    const given = (client, config) => client.call('installSpell', a.id, SCRIPT, { greeted: '' }, config, null);
    const root = 'Failed to install spell in the root scope, only management peer id can install top-level spells';
    const past = 'invalid config: end_sec is less than start_sec or in the past';
    const long = 'invalid config: period is too big. Max period is 100 years (or approx 3153600000 seconds)';
    for (const [client, config, text] of [
        [user, trigger(1, 0, 1), root],
        [manager, trigger(10, 5, 1), past],
        [manager, trigger(1, 0, 3_153_600_001), long],
    ]) {
        const error = await rejection(given(client, config));
        check(error.message?.includes(text), error, text);
    }
}, spell);

test('spells are listed and removed', async (network) => {
    const { user, manager, a } = network;
    const id = await install(network, SCRIPT, '', trigger(0, 0, 0));
    equal((await user.call('listSpells', a.id)).includes(id), true);
    equal((await user.call('info', a.id, id)).service_type, 'spell');
    const kept = await rejection(manager.call('remove', a.id, id));
    matches(kept.message, /cannot remove a spell/);
    equal(await manager.call('removeSpell', a.id, id), 'removed');
    equal((await user.call('listSpells', a.id)).includes(id), false);
}, spell);

test('a spell of a worker', async (network) => {
    const id = await made(network, 'with a spell');
    const { user, manager, a } = network;
    const installed = await manager.call(
        'installOnWorker',
        a.id,
        id,
        `(seq (call "${a.id}" ("op" "noop") []) ${SCRIPT})`,
        { greeted: 'worker' },
        trigger(1, 0, 0),
        null,
    );
    matches(installed, /^[0-9a-f-]{36}$/);
    const services = await eventually(
        () => user.call('workerServices', a.id, id),
        (list) => list.some((service) => service.id === installed),
    );
    const info = services.find((service) => service.id === installed);
    equal([info?.service_type, info?.owner_id, info?.worker_id], ['spell', id, id]);
}, { needs: 'spell.list' });
