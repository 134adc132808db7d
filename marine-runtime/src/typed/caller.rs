//! A service that is called with Rust values.

use std::time::{Duration, Instant};

use super::{Difference, Mismatch, Output, check};
use crate::{CallParameters, IValue, Service, ServiceError};

/// A call with Rust values that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// The service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The service has not the interface that was compiled in.
    #[error("the service has another interface than this program: {0}")]
    Interface(#[from] Difference),
    /// The result has another type than the interface says.
    #[error("result of function {function}: {mismatch}")]
    Result {
        /// The function.
        function: String,
        /// What does not fit.
        mismatch: Mismatch,
    },
}

/// A service with what its next calls need: what clients of `bindings!` consist of.
#[derive(Debug)]
pub struct Caller {
    service: Service,
    parameters: CallParameters,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Caller {
    /// A service that must have the functions of `interface`, which is JSON as peers publish it. Calls have empty
    /// parameters and no deadline.
    ///
    /// # Errors
    /// The first difference between the two interfaces.
    pub fn new(service: Service, interface: &str) -> Result<Self, TypedError> {
        check(interface, &service.interface())?;
        Ok(Self {
            service,
            parameters: CallParameters::default(),
            timeout: None,
            deadline: None,
        })
    }

    /// Sets the parameters of the calls from now on.
    pub fn set_parameters(&mut self, parameters: CallParameters) -> &mut Self {
        self.parameters = parameters;
        self
    }

    /// Sets how long each call from now on may take.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Sets when calls must be over; with a timeout as well, the earlier of the two counts.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> &mut Self {
        self.deadline = deadline;
        self
    }

    /// The service.
    pub fn service_mut(&mut self) -> &mut Service {
        &mut self.service
    }

    /// The service alone.
    #[must_use]
    pub fn into_service(self) -> Service {
        self.service
    }

    /// Calls a function of the facade.
    ///
    /// # Errors
    /// See [`Service::call`]; a result of another type.
    pub fn call<T: Output>(
        &mut self,
        function: &str,
        arguments: &[IValue],
    ) -> Result<T, TypedError> {
        let end = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = match (self.deadline, end) {
            (Some(deadline), Some(end)) => Some(deadline.min(end)),
            (deadline, end) => deadline.or(end),
        };
        let values = self
            .service
            .call_values(function, arguments, &self.parameters, deadline)?;
        result(function, values)
    }
}

/// The result of a call of `function` as a Rust value.
///
/// # Errors
/// A value of another type.
pub fn result<T: Output>(function: &str, values: Vec<IValue>) -> Result<T, TypedError> {
    T::from_values(values).map_err(|mismatch| TypedError::Result {
        function: function.to_owned(),
        mismatch,
    })
}
