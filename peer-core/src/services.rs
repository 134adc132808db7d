//! Services: stateful instances that scripts call by id or alias (§4 of the peer description).
//!
//! Calls of one service run one after the other on a thread that may block; different services run
//! in parallel. A call that exceeds its time, or breaks its instance, costs the instance: the next
//! call gets a fresh one.

mod blocking;
mod counters;
mod entry;
#[cfg(feature = "marine")]
mod marine;
mod stats;
#[cfg(feature = "marine")]
mod token;

#[cfg(feature = "network")]
pub use self::blocking::TokioBlocking;
pub use self::blocking::{Blocking, Inline};
pub use self::counters::ServiceCounters;
#[cfg(feature = "marine")]
pub use self::marine::{Marine, MarineError};
pub use self::stats::DEFAULT_HISTORY;
#[cfg(feature = "marine")]
pub(crate) use self::{marine::Deployable, token::Tokens};

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{channel::oneshot, lock::Mutex};
use particle::PeerId;
use serde_json::Value;
use thiserror::Error;

use self::entry::{Place, Service};
use crate::{
    clock::Clock,
    host::{FunctionCall, FunctionHost, FunctionOutcome},
};

/// One instance of a service.
pub trait ServiceInstance: Send {
    /// Answers a call, and gives up at `deadline` on its own. Blocks for as long as that takes.
    ///
    /// # Errors
    /// A failure of the call, or of the instance.
    fn call(
        &mut self,
        call: &FunctionCall,
        deadline: Instant,
    ) -> Result<FunctionOutcome, ServiceFailure>;

    /// Bytes of memory by part of the service, such as its modules.
    fn memory(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Makes instances of a service.
pub trait ServiceFactory: Send + Sync {
    /// Makes an instance. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Modules that cannot be loaded; the text says which and why.
    fn create(&self) -> Result<Box<dyn ServiceInstance>, String>;

    /// The functions of the service in the form of `srv.get_interface`.
    ///
    /// # Errors
    /// A service that has no description of itself, or one that cannot be read.
    fn interface(&self) -> Result<Value, String> {
        Err("the service has no interface".to_owned())
    }
}

/// Why a call of a service failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServiceFailure {
    /// The call was wrong, or the service said no; the instance is as good as before.
    #[error("{0}")]
    Call(String),
    /// The service has no such function; the instance is as good as before.
    #[error("{0}")]
    NoFunction(String),
    /// The instance stopped in the middle of something and cannot be used any longer.
    #[error("{0}")]
    Broken(String),
}

/// Who made a service, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The blueprint; empty for a service of the configuration.
    pub blueprint_id: String,
    /// Who asked for it; the host's own services have none.
    pub owner: Option<PeerId>,
    /// Whether it is a spell, which only the functions for spells may remove.
    pub is_spell: bool,
}

/// A service as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Its id.
    pub id: String,
    /// Who made it, and of what.
    pub info: ServiceInfo,
    /// Its further names, sorted.
    pub aliases: Vec<String>,
}

/// What the services of a peer are at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceUsage {
    /// How many there are.
    pub services: usize,
    /// Bytes of memory they had after their last calls.
    pub memory: u64,
    /// Calls that run or wait for their service.
    pub calls: usize,
}

/// How a service is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Time for one call, the creation of a fresh instance not included.
    pub call_timeout: Duration,
    /// Calls that may wait; further ones fail at once.
    pub max_queued_calls: usize,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(20),
            max_queued_calls: 1024,
        }
    }
}

/// The services of a peer, in all its scopes.
pub struct Services {
    blocking: Arc<dyn Blocking>,
    clock: Arc<dyn Clock>,
    scopes: RwLock<BTreeMap<PeerId, Scope>>,
    /// How many of its last calls a service remembers one by one.
    history: usize,
    counters: Arc<ServiceCounters>,
}

#[derive(Default)]
struct Scope {
    services: BTreeMap<String, Arc<Service>>,
    /// Alias to service id.
    aliases: BTreeMap<String, String>,
}

/// Why a service was not added, or an alias not given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The name is taken.
    #[error("there is already a service with id '{id}'")]
    Taken {
        /// The id.
        id: String,
    },
    /// No such service in the scope.
    #[error("Service with id '{id}' not found on {peer_id}")]
    NotFound {
        /// The id.
        id: String,
        /// The scope.
        peer_id: PeerId,
    },
    /// An alias would hide a service.
    #[error("Cannot add alias '{alias}' because there is a service with that id")]
    AliasIsService {
        /// The alias.
        alias: String,
    },
    /// An alias that has a meaning of its own.
    #[error("Cannot add alias '{alias}' because it is reserved")]
    AliasReserved {
        /// The alias.
        alias: String,
    },
}

impl Services {
    /// No services yet; calls will run on `blocking`.
    #[must_use]
    pub fn new(blocking: Arc<dyn Blocking>, clock: Arc<dyn Clock>) -> Self {
        Self {
            blocking,
            clock,
            scopes: RwLock::default(),
            history: DEFAULT_HISTORY,
            counters: Arc::default(),
        }
    }

    /// What was counted over all services.
    #[must_use]
    pub fn counters(&self) -> &ServiceCounters {
        &self.counters
    }

    /// What the services are now: how many there are, the bytes of memory they had after their
    /// last calls, and the calls that run or wait.
    #[must_use]
    pub fn usage(&self) -> ServiceUsage {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let mut usage = ServiceUsage::default();
        for service in scopes.values().flat_map(|scope| scope.services.values()) {
            usage.services += 1;
            usage.memory += service.memory.load(Ordering::Relaxed);
            usage.calls += service.queued.load(Ordering::Relaxed);
        }
        usage
    }

    /// Sets how many of the last calls of a service are listed one by one.
    #[must_use]
    pub fn with_history(mut self, calls: usize) -> Self {
        self.history = calls;
        self
    }

    /// Adds a service to a scope. Its first instance is made at its first call, unless one is
    /// given.
    ///
    /// # Errors
    /// An id that is taken in this scope.
    pub fn add(
        &self,
        peer_id: PeerId,
        id: &str,
        factory: Arc<dyn ServiceFactory>,
        instance: Option<Box<dyn ServiceInstance>>,
        options: ServiceOptions,
    ) -> Result<(), ServiceError> {
        self.add_of(
            peer_id,
            id,
            factory,
            instance,
            options,
            ServiceInfo::default(),
        )
    }

    /// [`Services::add`] of a service that somebody made.
    ///
    /// # Errors
    /// As [`Services::add`].
    pub fn add_of(
        &self,
        peer_id: PeerId,
        id: &str,
        factory: Arc<dyn ServiceFactory>,
        mut instance: Option<Box<dyn ServiceInstance>>,
        options: ServiceOptions,
        info: ServiceInfo,
    ) -> Result<(), ServiceError> {
        let memory = instance.as_mut();
        let memory = memory.map_or(0, |instance| entry::total(&instance.memory()));
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let scope = scopes.entry(peer_id).or_default();
        if scope.services.contains_key(id) {
            return Err(ServiceError::Taken { id: id.to_owned() });
        }
        let service = Service {
            id: id.to_owned(),
            info,
            factory,
            options,
            stats: std::sync::Mutex::default(),
            instance: Arc::new(Mutex::new(instance)),
            queued: AtomicUsize::new(0),
            memory: AtomicU64::new(memory),
            last_act: entry::LastAct::default(),
        };
        scope.services.insert(id.to_owned(), Arc::new(service));
        self.counters.created.increment();
        Ok(())
    }

    /// Gives a service a further name; the name moves when it was given before.
    ///
    /// # Errors
    /// A name that is reserved or the id of a service, or a service that does not exist.
    pub fn add_alias(&self, peer_id: PeerId, alias: &str, id: &str) -> Result<(), ServiceError> {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let scope = scopes.entry(peer_id).or_default();
        if scope.services.contains_key(alias) {
            let alias = alias.to_owned();
            return Err(ServiceError::AliasIsService { alias });
        }
        if RESERVED.contains(&alias) {
            let alias = alias.to_owned();
            return Err(ServiceError::AliasReserved { alias });
        }
        if !scope.services.contains_key(id) {
            let id = id.to_owned();
            return Err(ServiceError::NotFound { id, peer_id });
        }
        scope.aliases.insert(alias.to_owned(), id.to_owned());
        Ok(())
    }

    /// Undoes [`Services::add_alias`]: the name is again that of `before`, or of nobody.
    #[cfg(feature = "marine")]
    pub(crate) fn restore_alias(&self, peer_id: PeerId, alias: &str, before: Option<&str>) {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get_mut(&peer_id) else {
            return;
        };
        match before {
            Some(id) => scope.aliases.insert(alias.to_owned(), id.to_owned()),
            None => scope.aliases.remove(alias),
        };
    }

    /// Removes a service and its aliases; true when it was there. A call under way ends normally.
    pub fn remove(&self, peer_id: PeerId, id: &str) -> bool {
        self.remove_then(peer_id, id, Box::new(|| ()))
    }

    /// [`Services::remove`], and does something when the last call of the service has ended: at
    /// once when there is none.
    pub fn remove_then(
        &self,
        peer_id: PeerId,
        id: &str,
        act: Box<dyn FnOnce() + Send + Sync>,
    ) -> bool {
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get_mut(&peer_id) else {
            return false;
        };
        scope.aliases.retain(|_, target| target != id);
        let service = scope.services.remove(id);
        if scope.services.is_empty() {
            scopes.remove(&peer_id);
        }
        // Not under the lock: this may be the end of the service.
        drop(scopes);
        let Some(service) = service else { return false };
        service.last_act.set(act);
        self.counters.removed.increment();
        true
    }

    /// The ids of the services of a scope.
    #[must_use]
    pub fn list(&self, peer_id: PeerId) -> Vec<String> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let services = scopes.get(&peer_id).map(|scope| scope.services.keys());
        services.into_iter().flatten().cloned().collect()
    }

    /// All services of a scope, in the order of their ids.
    #[must_use]
    pub fn views(&self, peer_id: PeerId) -> Vec<ServiceView> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get(&peer_id) else {
            return Vec::new();
        };
        let mut aliases = scope.aliases_by_service();
        let services = scope.services.values();
        services
            .map(|service| service.view(aliases.remove(service.id.as_str())))
            .collect()
    }

    /// A service by id or alias, as a particle with this id knows it.
    #[must_use]
    pub fn view(&self, peer_id: PeerId, name: &str, particle_id: &str) -> Option<ServiceView> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let scope = scopes.get(&peer_id)?;
        let service = scope.find(name, particle_id)?;
        Some(service.view(scope.aliases_by_service().remove(service.id.as_str())))
    }

    /// The service that an alias names for a particle with this id; ids are none.
    #[must_use]
    pub fn aliased(&self, peer_id: PeerId, alias: &str, particle_id: &str) -> Option<String> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let id = scopes.get(&peer_id)?.alias(alias, particle_id);
        id.map(str::to_owned)
    }

    /// Whether this is the worker spell of a scope, to which more is allowed than to others.
    #[must_use]
    pub fn is_worker_spell(&self, peer_id: PeerId, id: &str) -> bool {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scopes.get(&peer_id) else {
            return false;
        };
        scope.aliases.get(WORKER_SPELL).is_some_and(|of| of == id)
            && scope.services.get(id).is_some_and(|of| of.info.is_spell)
    }

    /// What the factory of a service says about its functions; nothing for no service. Blocks.
    #[must_use]
    pub fn interface(&self, peer_id: PeerId, id: &str) -> Option<Result<Value, String>> {
        Some(self.resolve(peer_id, id, "")?.factory.interface())
    }

    /// The memory of a service by part, once it is idle; nothing for no service.
    pub async fn memory(
        &self,
        peer_id: PeerId,
        name: &str,
        particle_id: &str,
    ) -> Option<Vec<(String, u64)>> {
        let service = self.resolve(peer_id, name, particle_id)?;
        let mut instance = service.instance.lock().await;
        Some(
            instance
                .as_mut()
                .map(|instance| instance.memory())
                .unwrap_or_default(),
        )
    }

    /// What was counted about the calls of a service; nothing for no service or no call.
    #[must_use]
    pub fn stats(&self, peer_id: PeerId, name: &str, particle_id: &str) -> Option<Value> {
        let service = self.resolve(peer_id, name, particle_id)?;
        let stats = service.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.describe()
    }

    fn resolve(&self, peer_id: PeerId, name: &str, particle_id: &str) -> Option<Arc<Service>> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        scopes.get(&peer_id)?.find(name, particle_id).cloned()
    }

    async fn run(&self, service: Arc<Service>, call: &FunctionCall) -> FunctionOutcome {
        let limit = service.options.max_queued_calls;
        let Some(_place) = Place::take(&service.queued, limit) else {
            return FunctionOutcome::error(&format!(
                "{limit} calls of service '{}' already wait",
                service.id
            ));
        };
        let asked = Instant::now();
        let mut instance = service.instance.clone().lock_owned().await;
        self.counters.lock_wait.observe_time(asked.elapsed());
        let left = call.deadline_ms.saturating_sub(self.clock.now_ms());
        let timeout = service
            .options
            .call_timeout
            .min(Duration::from_millis(left));
        let (sender, receiver) = oneshot::channel();
        let (called, call) = (service.clone(), call.clone());
        let (history, counters) = (self.history, self.counters.clone());
        self.blocking.spawn(Box::new(move || {
            let outcome = called.call(&mut instance, &call, timeout, history, &counters);
            drop(instance);
            // Whoever waited may have given up.
            let _ = sender.send(outcome);
        }));
        receiver.await.unwrap_or_else(|_| {
            FunctionOutcome::error(&format!("service '{}' died during the call", service.id))
        })
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        let names = scopes.iter().map(|(peer_id, scope)| {
            let services: Vec<&String> = scope.services.keys().collect();
            (peer_id, services)
        });
        formatter.debug_map().entries(names).finish()
    }
}

#[async_trait]
impl FunctionHost for Services {
    async fn call(&self, call: &FunctionCall) -> FunctionOutcome {
        match self.resolve(call.peer_id, &call.service_id, &call.particle.id) {
            Some(service) => self.run(service, call).await,
            None => FunctionOutcome::NotDefined,
        }
    }
}

/// Aliases that every spell has for itself.
const RESERVED: [&str; 2] = ["spell", "self"];
/// The alias of the spell that deploys what a worker is for.
pub const WORKER_SPELL: &str = "worker-spell";

/// The spell whose particle has this id: the second field of `spell_ID_NUMBER`.
#[must_use]
pub fn spell_of_particle(particle_id: &str) -> Option<&str> {
    let (id, number) = particle_id.strip_prefix("spell_")?.rsplit_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !id.is_empty() && !id.contains('_')).then_some(id)
}

impl Scope {
    /// An id counts before an alias.
    fn find(&self, name: &str, particle_id: &str) -> Option<&Arc<Service>> {
        let service = self.services.get(name);
        service.or_else(|| self.services.get(self.alias(name, particle_id)?))
    }

    fn alias<'a>(&'a self, name: &str, particle_id: &'a str) -> Option<&'a str> {
        if RESERVED.contains(&name)
            && let Some(id) = spell_of_particle(particle_id)
            && self.services.contains_key(id)
        {
            return Some(id);
        }
        self.aliases.get(name).map(String::as_str)
    }

    fn aliases_by_service(&self) -> BTreeMap<&str, Vec<String>> {
        let mut aliases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (alias, id) in &self.aliases {
            aliases.entry(id).or_default().push(alias.clone());
        }
        aliases
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use futures::executor::block_on;
    use serde_json::{Value, json};

    use super::*;
    use crate::{clock::Clock, host::tests::call};

    struct Now;

    #[async_trait]
    impl Clock for Now {
        fn now_ms(&self) -> u64 {
            5_000
        }

        async fn sleep(&self, _duration: Duration) {}
    }

    /// Counts its calls; `break`, `fail` and `panic` do so.
    struct Counter {
        calls: u32,
        longest: Arc<std::sync::Mutex<Option<Duration>>>,
    }

    #[derive(Default)]
    struct Counters {
        made: AtomicU32,
        longest: Arc<std::sync::Mutex<Option<Duration>>>,
    }

    impl ServiceFactory for Counters {
        fn create(&self) -> Result<Box<dyn ServiceInstance>, String> {
            self.made.fetch_add(1, Ordering::AcqRel);
            Ok(Box::new(Counter {
                calls: 0,
                longest: self.longest.clone(),
            }))
        }
    }

    impl ServiceInstance for Counter {
        fn call(
            &mut self,
            call: &FunctionCall,
            deadline: Instant,
        ) -> Result<FunctionOutcome, ServiceFailure> {
            *self.longest.lock().unwrap() = Some(deadline - Instant::now());
            self.calls += 1;
            match call.function_name.as_str() {
                "break" => Err(ServiceFailure::Broken("trap".to_owned())),
                "fail" => Err(ServiceFailure::Call("no".to_owned())),
                "panic" => panic!("on purpose"),
                _ => Ok(FunctionOutcome::value(&self.calls)),
            }
        }
    }

    fn services() -> (Services, Arc<Counters>, PeerId) {
        let services = Services::new(Arc::new(Inline), Arc::new(Now));
        let factory = Arc::new(Counters::default());
        let host = call("a", "b", &[]).peer_id;
        let add =
            |id: &str| services.add(host, id, factory.clone(), None, ServiceOptions::default());
        add("one").unwrap();
        add("two").unwrap();
        assert!(matches!(add("one"), Err(ServiceError::Taken { .. })));
        (services, factory, host)
    }

    fn ask(services: &Services, service: &str, function: &str) -> (i32, Value) {
        let call = call(service, function, &[]);
        let outcome = block_on(crate::host::call_isolated(services, &call));
        let (code, text) = outcome.into_result(&call);
        (code, serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn services_keep_state_until_they_break() {
        let (services, factory, _) = services();
        assert_eq!(ask(&services, "one", "count"), (0, json!(1)));
        assert_eq!(ask(&services, "one", "count"), (0, json!(2)));
        assert_eq!(ask(&services, "two", "count"), (0, json!(1)));
        let (code, text) = ask(&services, "one", "fail");
        assert_eq!(
            (code, text.as_str().unwrap().lines().next()),
            (1, Some("Error: no"))
        );
        assert_eq!(ask(&services, "one", "count"), (0, json!(4)));
        assert_eq!(factory.made.load(Ordering::Acquire), 2);
        for broken in ["break", "panic"] {
            assert_eq!(ask(&services, "one", broken).0, 1);
            assert_eq!(ask(&services, "one", "count"), (0, json!(1)));
        }
        assert_eq!(factory.made.load(Ordering::Acquire), 4);
    }

    #[test]
    fn ids_and_aliases() {
        let (services, _, host) = services();
        services.add_alias(host, "uno", "one").unwrap();
        ask(&services, "one", "count");
        assert_eq!(ask(&services, "uno", "count"), (0, json!(2)));
        // The name moves.
        services.add_alias(host, "uno", "two").unwrap();
        assert_eq!(ask(&services, "uno", "count"), (0, json!(1)));
        let errors: Vec<String> = [("two", "one"), ("spell", "one"), ("x", "three")]
            .into_iter()
            .map(|(alias, id)| services.add_alias(host, alias, id).unwrap_err().to_string())
            .collect();
        assert_eq!(
            errors[0],
            "Cannot add alias 'two' because there is a service with that id"
        );
        assert_eq!(errors[1], "Cannot add alias 'spell' because it is reserved");
        assert!(errors[2].starts_with("Service with id 'three' not found on"));
        // Other scopes know nothing of all this.
        let other = particle::KeyPair::from_seed(&[9; 32]).peer_id();
        let mut call = call("one", "count", &[]);
        call.peer_id = other;
        assert!(matches!(
            block_on(services.call(&call)),
            FunctionOutcome::NotDefined
        ));
        assert!(services.remove(host, "two") && !services.remove(host, "two"));
        assert_eq!(ask(&services, "uno", "count").0, 1);
        assert_eq!(services.list(host), ["one"]);
    }

    #[test]
    fn spells_have_names_for_themselves() {
        let (services, factory, host) = services();
        let spell = ServiceInfo {
            is_spell: true,
            ..ServiceInfo::default()
        };
        let options = ServiceOptions::default();
        services
            .add_of(host, "s1", factory, None, options, spell)
            .unwrap();
        for name in ["spell", "self"] {
            assert_eq!(
                services.aliased(host, name, "spell_s1_4").as_deref(),
                Some("s1")
            );
            assert_eq!(services.aliased(host, name, "particle"), None);
            assert!(services.view(host, name, "spell_s1_4").is_some());
        }
        assert!(!services.is_worker_spell(host, "s1"));
        services.add_alias(host, WORKER_SPELL, "one").unwrap();
        assert!(!services.is_worker_spell(host, "one"));
        services.add_alias(host, WORKER_SPELL, "s1").unwrap();
        assert!(services.is_worker_spell(host, "s1"));
        for id in [
            "spell_s1",
            "spell_s1_",
            "spell_s1_x",
            "spell__1",
            "xspell_s1_1",
            "spell_a_s1_1",
        ] {
            assert_eq!(spell_of_particle(id), None, "{id}");
        }
    }

    #[test]
    fn the_last_act_waits_for_calls() {
        let (services, _, host) = services();
        let done = Arc::new(AtomicBool::new(false));
        let act = |done: &Arc<AtomicBool>| {
            let done = done.clone();
            Box::new(move || done.store(true, Ordering::Release))
        };
        let under_way = services.resolve(host, "one", "").unwrap();
        assert!(services.remove_then(host, "one", act(&done)));
        assert!(!done.load(Ordering::Acquire));
        drop(under_way);
        assert!(done.load(Ordering::Acquire));
        let done = Arc::new(AtomicBool::new(false));
        assert!(services.remove_then(host, "two", act(&done)));
        assert!(done.load(Ordering::Acquire));
        assert!(!services.remove_then(host, "two", act(&done)));
    }

    #[test]
    fn the_deadline_is_that_of_call_and_particle() {
        let (services, factory, host) = services();
        ask(&services, "one", "count");
        let longest = factory.longest.lock().unwrap().unwrap();
        assert!(longest <= Duration::from_secs(3), "{longest:?}");
        let options = ServiceOptions {
            call_timeout: Duration::from_millis(10),
            ..ServiceOptions::default()
        };
        services
            .add(host, "short", factory.clone(), None, options)
            .unwrap();
        ask(&services, "short", "count");
        let longest = factory.longest.lock().unwrap().unwrap();
        assert!(longest <= Duration::from_millis(10), "{longest:?}");
    }

    #[test]
    fn queues_are_bounded() {
        let (services, factory, host) = services();
        let options = ServiceOptions {
            max_queued_calls: 1,
            ..ServiceOptions::default()
        };
        services.add(host, "busy", factory, None, options).unwrap();
        let service = services.resolve(host, "busy", "").unwrap();
        let running = Place::take(&service.queued, 1).unwrap();
        let waiting = Place::take(&service.queued, 1).unwrap();
        let (code, text) = ask(&services, "busy", "count");
        assert_eq!(
            (code, text),
            (1, json!("1 calls of service 'busy' already wait"))
        );
        drop((running, waiting));
        assert_eq!(ask(&services, "busy", "count").0, 0);
    }
}
