// Modules, blueprints and services: deployed by the manager, used by everybody.

import { rawCid } from '../encoding.mjs';
import { check, equal, matches, refused, rejection, sorted, test } from '../suite.mjs';

const GUARDED = 'This function is only available to the host or worker spells';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UPLOAD_MS = 60_000;

const encoded = (network, name) => network.module(name).toString('base64');

// The service `greeting` on both peers.
const greeting = (network) =>
    network.once('greeting', async () => {
        const deploy = async (peer) => {
            const module = encoded(network, 'greeting');
            const made = await network.manager.callFor(UPLOAD_MS, 'deploy', peer.id, 'greeting', module);
            const [cid, blueprint, id] = made;
            return { cid, blueprint, id };
        };
        return { a: await deploy(network.a), b: await deploy(network.b) };
    });

// The service `files` on the relay.
const files = (network) =>
    network.once('files', async () => {
        const module = encoded(network, 'files');
        const made = await network.manager.callFor(UPLOAD_MS, 'deploy', network.a.id, 'files', module);
        return { id: made[2] };
    });

const blueprintText = (name, modules) =>
    JSON.stringify({ dependencies: modules.map((cid) => ({ '/': cid })), name });

test('a service is deployed and called', async (network) => {
    const { a, b } = await greeting(network);
    const cid = rawCid(network.module('greeting'));
    for (const [peer, made] of [[network.a, a], [network.b, b]]) {
        equal(made.cid, cid);
        equal(made.blueprint, rawCid(Buffer.from(blueprintText('greeting', [cid]))));
        matches(made.id, UUID);
        // By its id, and by its name, by somebody else.
        for (const client of [network.user, network.other]) {
            equal(await client.call('greet', peer.id, made.id, 'Ann'), 'Hi, Ann');
            equal(await client.call('greet', peer.id, 'greeting', 'Bob'), 'Hi, Bob');
        }
    }
});

test('services of two peers in one script', async (network) => {
    await greeting(network);
    equal(await network.user.call('greetTwice', network.a.id, network.b.id, 'Ann'), 'Hi, Hi, Ann');
});

test('a service of two modules', async (network) => {
    const { manager, user, a } = network;
    const modules = [encoded(network, 'storage'), encoded(network, 'facade')];
    await manager.callFor(UPLOAD_MS, 'deployPair', a.id, 'notes', 'storage', modules[0], 'facade', modules[1]);
    equal(await user.call('saveNote', a.id, 'first', 'grüße'), {
        note: { title: 'first', text: 'grüße', version: 1 },
        author: user.id,
        count: 1,
    });
    equal((await user.call('saveNote', a.id, 'first', 'again')).note.version, 2);
    equal(await user.call('notes', a.id), [{ title: 'first', text: 'again', version: 2 }]);
});

test('errors of a service', async (network) => {
    await greeting(network);
    const { user, a } = network;
    const unknown = await rejection(user.call('greetUnknown', a.id, 'Ann'));
    equal([unknown.error_code, unknown.peer_id], [10000, a.id]);
    matches(unknown.message, /farewell/);
    const missing = await rejection(user.call('greetNoArgument', a.id));
    equal([missing.error_code, missing.peer_id], [10000, a.id]);
    matches(missing.message, /name|argument/);
    await refused(
        user.call('greet', a.id, 'nobody', 'Ann'),
        "Service with id 'nobody' not found (function greeting)",
    );
});

test('strangers deploy nothing', async (network) => {
    const { id, blueprint } = (await greeting(network)).a;
    const { user, a } = network;
    for (const call of [
        user.call('addModule', a.id, 'mine', 'AGFzbQEAAAA='),
        user.call('addBlueprint', a.id, blueprintText('mine', [rawCid(network.module('greeting'))])),
        user.call('create', a.id, blueprint),
        user.call('addAlias', a.id, 'mine', id),
        user.call('remove', a.id, id),
    ]) {
        await refused(call, GUARDED, { at: a.id });
    }
    equal(await user.call('greet', a.id, 'greeting', 'Ann'), 'Hi, Ann');
});

test('dist.make_module_config', async ({ user, a }) => {
    const text = await user.call('makeConfig', a.id, 'm', 5, '1 MiB', true, [['A', 'B']], [['x', 'y']], 7);
    equal(JSON.parse(text), {
        name: 'm',
        load_from: null,
        file_name: null,
        logger_enabled: true,
        logging_mask: 7,
        wasi: { envs: { A: 'B' }, mapped_dirs: { x: 'y' } },
    });
    const bare = await user.call('makeConfig', a.id, 'm', null, null, null, null, null, null);
    const { name, load_from: from, file_name: file } = JSON.parse(bare);
    equal([name, from, file], ['m', null, null]);
});

test('dist.default_module_config', async ({ user, a }) => {
    const [config, text] = await user.call('defaultConfig', a.id, 'some-module');
    equal(config.name, 'some-module');
    equal(JSON.parse(text), { name: 'some-module', load_from: null, file_name: null });
});

test('dist.add_module', async (network) => {
    const { manager, a } = network;
    const module = network.module('parrot');
    const cid = rawCid(module);
    // As its declaration has it, and as nox has it.
    equal(await manager.callFor(UPLOAD_MS, 'deployTyped', a.id, 'parrot', [...module]), cid);
    equal(await manager.callFor(UPLOAD_MS, 'addModule', a.id, 'parrot', module.toString('base64')), cid);
    await refused(
        manager.call('addModule', a.id, 'parrot', '*** not base64 ***'),
        'Error: Error while decoding module bytes from base64: ',
        { prefix: true },
    );
});

test('dist.add_module_from_vault', async (network) => {
    await files(network);
    const module = network.module('parrot');
    equal(await network.manager.callFor(UPLOAD_MS, 'addFromVault', network.a.id, 'parrot', [...module]), [
        rawCid(module),
        true,
    ]);
});

test('dist.add_module_bytes_from_vault', async (network) => {
    await files(network);
    const module = network.module('parrot');
    equal(await network.manager.callFor(UPLOAD_MS, 'addBytesFromVault', network.a.id, 'parrot', [...module]), [
        rawCid(module),
        true,
    ]);
});

test('dist.list_modules', async (network) => {
    const { cid } = (await greeting(network)).a;
    const modules = JSON.parse(await network.user.call('listModules', network.a.id));
    const found = modules.find((module) => module.hash === cid);
    equal([found?.name, typeof found?.config], ['greeting', 'object']);
});

test('dist.get_module_interface', async (network) => {
    const { cid } = (await greeting(network)).a;
    equal(await network.user.call('moduleInterface', network.a.id, cid), {
        function_signatures: [{ name: 'greeting', arguments: [['name', 'string']], output_types: ['string'] }],
        record_types: [],
    });
});

test('dist.make_blueprint', async ({ user, a }) => {
    const modules = [rawCid(Buffer.from('one')), rawCid(Buffer.from('two'))];
    equal(await user.call('makeBlueprint', a.id, 'pair', modules), blueprintText('pair', modules));
});

test('dist.add_blueprint', async ({ manager, a }) => {
    const modules = [
        'bafybeiey4i2vtj7uu7tlvdoc2o52uuuwxa4ahcx5g4lpqzk4qtd5klniuq',
        'bafybeibuvzascfzi5ikyzhjxdkridgytg4z26ujtnx7xrejq7gxq54ssdm',
    ];
    equal(
        await manager.call('addBlueprint', a.id, blueprintText('trust-graph', modules)),
        'bafkreifdehdwcppttfsqaju4kodgn5wgbefrarbzc72k4sore2bwpeq2fa',
    );
    await refused(
        manager.call('addBlueprint', a.id, '{"name":"x"}'),
        'Error deserializing blueprint from IPLD: ',
        { prefix: true },
    );
    const error = await rejection(manager.call('addBlueprint', a.id, '{"dependencies":[],"name":"x"}'));
    matches(error.message, /Blueprint 'x' has empty list of dependencies/);
});

test('dist.load_blueprint', async ({ user, a }) => {
    const text = blueprintText('loaded', [rawCid(Buffer.from('one'))]);
    equal(await user.call('loadBlueprint', a.id, text), text);
});

test('dist.list_blueprints', async (network) => {
    const { blueprint, cid } = (await greeting(network)).a;
    const blueprints = await network.user.call('listBlueprints', network.a.id);
    equal(
        blueprints.find(({ id }) => id === blueprint),
        { id: blueprint, name: 'greeting', dependencies: [cid] },
    );
});

test('dist.get_blueprint', async (network) => {
    const { blueprint, cid } = (await greeting(network)).a;
    const { user, a } = network;
    const expected = { id: blueprint, name: 'greeting', dependencies: [cid] };
    equal(await user.call('getBlueprint', a.id, blueprint), expected);
    await refused(user.call('getBlueprint', a.id, 'none'), "Error: Blueprint 'none' wasn't found", { prefix: true });
});

test('srv.create', async (network) => {
    const { blueprint, id } = (await greeting(network)).a;
    const { manager, user, a } = network;
    const second = await manager.call('create', a.id, blueprint);
    matches(second, UUID);
    check(second !== id, second, 'an id of its own');
    equal(await user.call('greet', a.id, second, 'you'), 'Hi, you');
    const error = await rejection(manager.call('create', a.id, 'no-blueprint'));
    matches(error.message, /Blueprint 'no-blueprint' wasn't found/);
    await manager.call('remove', a.id, second);
});

test('srv.remove', async (network) => {
    const { blueprint } = (await greeting(network)).a;
    const { manager, user, a } = network;
    const id = await manager.call('create', a.id, blueprint);
    await manager.call('addAlias', a.id, 'short-lived', id);
    equal(await user.call('greet', a.id, 'short-lived', 'you'), 'Hi, you');
    equal(await manager.call('remove', a.id, 'short-lived'), 'removed');
    for (const name of ['short-lived', id]) {
        await refused(
            user.call('greet', a.id, name, 'you'),
            `Service with id '${name}' not found (function greeting)`,
        );
    }
    equal(await user.call('resolveAliasOpt', a.id, 'short-lived'), null);
});

test('srv.list', async (network) => {
    const { id, blueprint } = (await greeting(network)).a;
    const { manager, user, a } = network;
    const services = await user.call('list', a.id);
    equal(
        services.find((service) => service.id === id),
        {
            id,
            blueprint_id: blueprint,
            service_type: 'service',
            owner_id: manager.id,
            aliases: ['greeting'],
            worker_id: a.id,
        },
    );
});

test('srv.add_alias', async (network) => {
    const { id, blueprint } = (await greeting(network)).a;
    const { manager, user, a } = network;
    const second = await manager.call('create', a.id, blueprint);
    await manager.call('addAlias', a.id, 'moving', id);
    equal(await user.call('resolveAlias', a.id, 'moving'), id);
    await manager.call('addAlias', a.id, 'moving', second);
    equal(await user.call('resolveAlias', a.id, 'moving'), second);
    equal((await user.call('info', a.id, id)).aliases, ['greeting']);
    for (const [alias, text] of [
        [id, `Cannot add alias '${id}' because there is a service with that id`],
        ['spell', "Cannot add alias 'spell' because it is reserved"],
        ['self', "Cannot add alias 'self' because it is reserved"],
    ]) {
        const error = await rejection(manager.call('addAlias', a.id, alias, second));
        check(error.message?.includes(text), error, text);
    }
    const error = await rejection(manager.call('addAlias', a.id, 'lost', 'nobody'));
    check(error.message?.includes("Service with id 'nobody' not found on"), error, 'no such service');
    await manager.call('remove', a.id, second);
});

test('srv.resolve_alias', async (network) => {
    const { id } = (await greeting(network)).a;
    const { user, a } = network;
    equal(await user.call('resolveAlias', a.id, 'greeting'), id);
    await refused(
        user.call('resolveAlias', a.id, 'unknown'),
        "Error: Service with alias 'unknown' is not found on worker '",
        { prefix: true },
    );
});

test('srv.resolve_alias_opt', async (network) => {
    const { id } = (await greeting(network)).a;
    const { user, a } = network;
    equal(await user.call('resolveAliasOpt', a.id, 'greeting'), id);
    equal(await user.call('resolveAliasOpt', a.id, 'unknown'), null);
});

test('srv.get_interface', async (network) => {
    const { id } = (await greeting(network)).a;
    const { user, a } = network;
    for (const name of [id, 'greeting']) {
        equal(await user.call('interface', a.id, name), {
            function_signatures: [{ name: 'greeting', arguments: [['name', 'string']], output_types: ['string'] }],
            record_types: [],
        });
    }
});

test('srv.info', async (network) => {
    const { id, blueprint } = (await greeting(network)).b;
    const { manager, user, b } = network;
    for (const name of [id, 'greeting']) {
        const info = await user.call('info', b.id, name);
        equal([info.id, info.blueprint_id, info.owner_id], [id, blueprint, manager.id]);
        equal([info.service_type, info.worker_id, info.aliases], ['service', b.id, ['greeting']]);
    }
    const error = await rejection(user.call('info', b.id, 'unknown'));
    matches(error.message, /Service with id 'unknown' not found/);
});

test('stat.service_stat', async (network) => {
    const { blueprint } = (await greeting(network)).b;
    const { manager, user, b } = network;
    const id = await manager.call('create', b.id, blueprint);
    equal(await user.call('serviceStat', b.id, id), {
        status: false,
        error: `No stats were collected for the \`${id}\` service`,
        result: null,
    });
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
        await user.call('greet', b.id, id, name);
    }
    const { status, error, result } = await user.call('serviceStat', b.id, id);
    equal([status, error], [true, '']);
    const [greetings] = result.functions_stats;
    equal(greetings.name, 'greeting');
    for (const stats of [result.total_stats, greetings.stats]) {
        equal([stats.success_req_count, stats.failed_req_count], [7, 0]);
        equal([stats.timestamps.length, stats.call_time_sec.series.length], [5, 5]);
        check(stats.call_time_sec.total > 0, stats.call_time_sec, 'some time');
    }
    await manager.call('remove', b.id, id);
});

test('stat.service_memory', async (network) => {
    const { id } = (await greeting(network)).a;
    const { user, a } = network;
    for (const name of [id, 'greeting']) {
        const [module, ...rest] = await user.call('serviceMemory', a.id, name);
        equal([module.name, rest], ['greeting', []]);
        check(module.memory_size_bytes > 0, module, 'some memory');
        check(module.max_memory_size_bytes >= module.memory_size_bytes, module, 'a limit above the size');
    }
});

test('a service reads what was put into the vault', async (network) => {
    await files(network);
    const [path, outcome] = await network.user.call('writeVault', network.a.id, 'for the service');
    matches(path, /^\/tmp\/vault\//);
    equal(outcome, { success: true, error: '', content: [...Buffer.from('for the service')], names: [] });
});

test('what a service writes is in the vault', async (network) => {
    await files(network);
    const text = 'from the service 🌊';
    equal(await network.user.call('shareFile', network.a.id, [...Buffer.from(text)]), [true, text]);
});

test('a service does not see the vault of another particle', async (network) => {
    await files(network);
    const [path] = await network.user.call('writeVault', network.a.id, 'secret');
    for (const folder of ['/tmp/vault', path.split('/').slice(0, -2).join('/')]) {
        const outcome = await network.user.call('readFile', network.a.id, folder);
        equal([outcome.success, outcome.content], [false, []], folder);
    }
});

test('a service keeps files', async (network) => {
    await files(network);
    const bytes = [0, 255, 10, 13];
    equal(await network.user.call('storeFile', network.a.id, '/storage/kept.bin', bytes), [true, bytes]);
    equal((await network.user.call('readFile', network.a.id, '/storage/kept.bin')).content, bytes);
    equal((await network.user.call('readFile', network.a.id, '/etc/passwd')).success, false);
});

test('where arguments come from', async (network) => {
    await files(network);
    const { user, a } = network;
    const [literal, made, lensed] = await user.call('origins', a.id, ['x']);
    const of = (peer, service, name, lens = '') => ({
        peer_pk: peer,
        service_id: service,
        function_name: name,
        lens,
    });
    equal(literal, [of(user.id, 'getDataSrv', 'literal')]);
    equal(made, [of(a.id, 'op', 'array')]);
    equal(lensed, [of(a.id, 'peer', 'identify', '.$.external_addresses')]);
});

test('what a service knows about its call', async (network) => {
    const { id } = await files(network);
    const { manager, user, a } = network;
    const got = await user.callFor(31_000, 'parameters', a.id);
    equal(
        [got.particle.init_peer_id, got.particle.ttl, got.particle.signature.length],
        [user.id, 31_000, 64],
    );
    equal([got.service_creator_peer_id, got.host_id, got.worker_id], [manager.id, a.id, a.id]);
    check([id, 'files'].includes(got.service_id), got.service_id, id);
    check(got.particle.script.includes('"call_parameters"'), got.particle.script, 'the script');
    equal(sorted(Object.keys(got.particle)).length, 7);
});
