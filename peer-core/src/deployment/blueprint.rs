//! Blueprints: which modules a service is made of (§4.3 of the peer description).

use deal_types::{Cid, unixfs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Most modules that a service is linked from.
const MAX_DEPENDENCIES: usize = 256;

/// Why a text is no blueprint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlueprintError {
    /// No JSON.
    #[error("{0}")]
    Json(String),
    /// A member that is not there.
    #[error("{0} field is missing")]
    Missing(&'static str),
    /// The name is something else.
    #[error("name field is not a string")]
    Name,
    /// The dependencies are something else.
    #[error("dependencies field is not a list")]
    Dependencies,
    /// A dependency is something else.
    #[error("dependency is not a link")]
    Link,
    /// A service needs at least its facade.
    #[error("Blueprint '{0}' has empty list of dependencies")]
    Empty(String),
    /// A service of so many modules cannot be linked.
    #[error("Blueprint '{name}' has {count} dependencies, expected at most {MAX_DEPENDENCIES}")]
    TooMany {
        /// Its name.
        name: String,
        /// How many.
        count: usize,
    },
}

/// A service's modules, dependencies before their users; the last one is the facade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Its name, which means nothing.
    pub name: String,
    /// Content identifiers of the modules.
    pub dependencies: Vec<String>,
}

impl Blueprint {
    /// A blueprint of these modules, whose identifiers are brought into their usual form.
    ///
    /// # Errors
    /// No module, too many, or something that is no content identifier.
    pub fn new(name: String, dependencies: &[String]) -> Result<Self, BlueprintError> {
        if dependencies.is_empty() {
            return Err(BlueprintError::Empty(name));
        }
        if dependencies.len() > MAX_DEPENDENCIES {
            let count = dependencies.len();
            return Err(BlueprintError::TooMany { name, count });
        }
        let dependencies = dependencies
            .iter()
            .map(|text| text.parse::<Cid>().map(|cid| cid.to_string()))
            .collect::<Result<_, _>>()
            .map_err(|_| BlueprintError::Link)?;
        Ok(Self { name, dependencies })
    }

    /// Reads the DAG-JSON form.
    ///
    /// # Errors
    /// See [`BlueprintError`].
    pub fn parse(text: &[u8]) -> Result<Self, BlueprintError> {
        let object: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|error| BlueprintError::Json(error.to_string()))?;
        let name = object.get("name").ok_or(BlueprintError::Missing("name"))?;
        let name = name.as_str().ok_or(BlueprintError::Name)?;
        let links = object
            .get("dependencies")
            .ok_or(BlueprintError::Missing("dependencies"))?;
        let links = links.as_array().ok_or(BlueprintError::Dependencies)?;
        let links = links
            .iter()
            .map(
                |link| match link.as_object().map(|link| (link.len(), link)) {
                    Some((1, link)) => link.get("/").and_then(Value::as_str),
                    _ => None,
                },
            )
            .map(|link| link.map(str::to_owned).ok_or(BlueprintError::Link))
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(name.to_owned(), &links)
    }

    /// The canonical DAG-JSON: sorted keys, no white space.
    #[must_use]
    pub fn to_dag_json(&self) -> String {
        let links: Vec<Value> = self
            .dependencies
            .iter()
            .map(|cid| json!({ "/": cid }))
            .collect();
        json!({ "dependencies": links, "name": self.name }).to_string()
    }

    /// Its id: the content identifier of the canonical DAG-JSON.
    #[must_use]
    pub fn id(&self) -> String {
        unixfs::cid_of(self.to_dag_json().as_bytes()).to_string()
    }

    /// What scripts are told of it.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({ "name": self.name, "id": self.id(), "dependencies": self.dependencies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "bafybeiey4i2vtj7uu7tlvdoc2o52uuuwxa4ahcx5g4lpqzk4qtd5klniuq";
    const SECOND: &str = "bafybeibuvzascfzi5ikyzhjxdkridgytg4z26ujtnx7xrejq7gxq54ssdm";

    #[test]
    fn known_id() {
        let links = [FIRST, SECOND].map(str::to_owned);
        let blueprint = Blueprint::new("trust-graph".to_owned(), &links).unwrap();
        assert_eq!(
            blueprint.to_dag_json(),
            format!(
                r#"{{"dependencies":[{{"/":"{FIRST}"}},{{"/":"{SECOND}"}}],"name":"trust-graph"}}"#
            )
        );
        assert_eq!(
            blueprint.id(),
            "bafkreifdehdwcppttfsqaju4kodgn5wgbefrarbzc72k4sore2bwpeq2fa"
        );
        assert_eq!(
            Blueprint::parse(blueprint.to_dag_json().as_bytes()),
            Ok(blueprint)
        );
    }

    #[test]
    fn what_is_no_blueprint() {
        let error = |text: &str| Blueprint::parse(text.as_bytes()).unwrap_err().to_string();
        for (text, expected) in [
            (r#"{"dependencies":[]}"#, "name field is missing"),
            (
                r#"{"name":1,"dependencies":[]}"#,
                "name field is not a string",
            ),
            (r#"{"name":"a"}"#, "dependencies field is missing"),
            (
                r#"{"name":"a","dependencies":{}}"#,
                "dependencies field is not a list",
            ),
            (
                r#"{"name":"a","dependencies":["b"]}"#,
                "dependency is not a link",
            ),
            (
                r#"{"name":"a","dependencies":[{"/":"../b"}]}"#,
                "dependency is not a link",
            ),
            (
                r#"{"name":"a","dependencies":[]}"#,
                "Blueprint 'a' has empty list of dependencies",
            ),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert!(error("nope").contains("expected"));
        let many = vec![FIRST.to_owned(); MAX_DEPENDENCIES + 1];
        assert!(matches!(
            Blueprint::new("a".to_owned(), &many),
            Err(BlueprintError::TooMany { .. })
        ));
    }
}
