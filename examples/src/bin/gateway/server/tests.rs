use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::functions::FunctionConfig;
use crate::limits::KeyConfig;

/// Answers with the arguments, after two events; notes what was started.
#[derive(Default)]
struct Echo(Mutex<Vec<Value>>);

struct Echoed(Value);

#[async_trait]
impl Caller for Echo {
    async fn start(
        &self,
        _function: &Function,
        arguments: BTreeMap<String, Value>,
        events: Option<mpsc::Sender<Event>>,
    ) -> Result<Box<dyn Started>, CallFailure> {
        let arguments = json!(arguments);
        self.0.lock().unwrap().push(arguments.clone());
        if let Some(events) = events {
            for number in [1, 2] {
                let (name, values) = ("step".to_owned(), vec![json!(number), json!([])]);
                events.send(Event { name, values }).await.unwrap();
            }
        }
        match arguments["text"].as_str() {
            Some("unsent") => Err(CallFailure::NotSent("no relay".to_owned())),
            _ => Ok(Box::new(Echoed(arguments))),
        }
    }
}

#[async_trait]
impl Started for Echoed {
    fn particle(&self) -> &str {
        "the-particle"
    }

    async fn result(self: Box<Self>) -> Result<Value, CallFailure> {
        match self.0["text"].as_str() {
            Some("late") => Err(CallFailure::Expired),
            Some("wrong") => Err(CallFailure::Script(json!({ "error_code": 7 }))),
            Some("slow") => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(self.0)
            }
            _ => Ok(self.0),
        }
    }
}

fn scalar(name: &str) -> Value {
    json!({ "tag": "scalar", "name": name })
}

fn function(name: &str, arguments: Value, result: Value) -> Function {
    let config = FunctionConfig {
        name: name.to_owned(),
        record: "unused".into(),
        ttl_ms: 1000,
        description: "Echoes.".to_owned(),
    };
    let arguments = json!({ "fields": arguments });
    let results = json!({ "items": [result] });
    Function::new(&config, "(null)".to_owned(), &arguments, &results).unwrap()
}

fn functions() -> Vec<Function> {
    let option = json!({ "tag": "option", "type": scalar("u32") });
    let arrow = json!({ "tag": "arrow", "codomain": { "tag": "nil" }, "domain": {
        "tag": "unlabeledProduct", "items": [scalar("u32"), option] } });
    let text = scalar("string");
    let both = json!({ "tag": "struct", "fields": { "text": text, "maybe": option } });
    let arguments = json!({ "text": text, "maybe": option, "step": arrow });
    let request = json!({ "request": { "tag": "topType" } });
    vec![
        function("echo", arguments, both),
        function("hook", request, json!({ "tag": "topType" })),
    ]
}

const SECRET: &str = "a secret of tests";

fn parts() -> Parts {
    Parts {
        functions: functions(),
        listeners: vec![ListenerConfig {
            route: "/hooks/push".to_owned(),
            function: "hook".to_owned(),
        }],
        keys: Keys::new(Vec::new()).unwrap(),
        max_calls: 1,
    }
}

async fn serve(parts: Parts, caller: Arc<Echo>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = router(Offer::new(parts).unwrap(), caller);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Status and what comes after the head; a body of unknown length keeps its chunks' sizes.
async fn ask(address: &str, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{head}\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

async fn post(address: &str, function: &str, body: &str) -> (u16, Value) {
    let head = format!("POST /call/{function} HTTP/1.1");
    let (status, _, body) = ask(address, &head, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn calls_have_results_or_errors() {
    let caller = Arc::new(Echo::default());
    let address = serve(parts(), caller.clone()).await;
    let (status, result) = post(&address, "echo", r#"{"text": "a", "maybe": 5}"#).await;
    assert_eq!((status, result), (200, json!({ "text": "a", "maybe": 5 })));
    assert_eq!(
        caller.0.lock().unwrap()[0],
        json!({ "text": "a", "maybe": [5] })
    );
    let (_, result) = post(&address, "echo", r#"{"text": "a"}"#).await;
    assert_eq!(result, json!({ "text": "a", "maybe": null }));
    for (name, body, status, error) in [
        ("nobody", "{}", 404, json!("there is no function `nobody`")),
        (
            "echo",
            r#"{"text": 5}"#,
            400,
            json!("text is 5, expected a text"),
        ),
        (
            "echo",
            r#"{"txt": ""}"#,
            400,
            json!("there is no argument `txt`, expected maybe, text"),
        ),
        (
            "echo",
            r#"{"text": "late"}"#,
            504,
            json!("the function took longer than it may"),
        ),
        (
            "echo",
            r#"{"text": "wrong"}"#,
            502,
            json!({ "error_code": 7 }),
        ),
        ("echo", r#"{"text": "unsent"}"#, 502, json!("no relay")),
    ] {
        assert_eq!(
            post(&address, name, body).await,
            (status, json!({ "error": error }))
        );
    }
    let (status, error) = post(&address, "echo", "[1]").await;
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("no JSON object"));
    let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(MAX_BODY));
    assert_eq!(post(&address, "echo", &long).await.0, 413);
}

#[tokio::test]
async fn calls_at_a_time_are_bounded() {
    let address = serve(parts(), Arc::default()).await;
    let slow = post(&address, "echo", r#"{"text": "slow"}"#);
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        post(&address, "echo", r#"{"text": "a"}"#).await
    };
    let (slow, other) = tokio::join!(slow, other);
    assert_eq!((slow.0, other.0), (200, 503));
    assert_eq!(post(&address, "echo", r#"{"text": "a"}"#).await.0, 200);
}

#[tokio::test]
async fn events_come_before_the_result() {
    let address = serve(parts(), Arc::default()).await;
    let head = "POST /call/echo HTTP/1.1\r\naccept: text/event-stream";
    for (body, last) in [
        (
            r#"{"text": "a"}"#,
            "event: result\ndata: {\"maybe\":null,\"text\":\"a\"}\n\n",
        ),
        (
            r#"{"text": "wrong"}"#,
            "event: error\ndata: {\"error_code\":7}\n\n",
        ),
    ] {
        let (status, head, body) = ask(&address, head, body).await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        // Chunks have their sizes between them.
        let messages = body.split("\r\n").filter(|chunk| chunk.contains("event: "));
        let messages: String = messages.collect();
        let steps = "event: step\ndata: [1,null]\n\nevent: step\ndata: [2,null]\n\n";
        assert_eq!(messages, format!("{steps}{last}"));
    }
}

#[tokio::test]
async fn keys_are_asked_for_and_counted() {
    let key = KeyConfig {
        name: "test".to_owned(),
        key: SECRET.to_owned(),
        requests_per_minute: 1,
        burst: Some(2),
    };
    let parts = Parts {
        keys: Keys::new(vec![key]).unwrap(),
        ..parts()
    };
    let address = serve(parts, Arc::default()).await;
    let with = |header: &str| format!("POST /call/echo HTTP/1.1\r\n{header}");
    let body = r#"{"text": "a"}"#;
    assert_eq!(post(&address, "echo", body).await.0, 401);
    assert_eq!(ask(&address, &with("x-api-key: public"), body).await.0, 401);
    let known = with(&format!("x-api-key: {SECRET}"));
    assert_eq!(ask(&address, &known, body).await.0, 200);
    let bearer = with(&format!("authorization: Bearer {SECRET}"));
    assert_eq!(ask(&address, &bearer, body).await.0, 200);
    let (status, head, _) = ask(&address, &bearer, body).await;
    assert_eq!(status, 429);
    assert!(head.contains("retry-after: "), "{head}");
    // Health and documentation are open.
    assert_eq!(ask(&address, "GET /health HTTP/1.1", "").await.0, 200);
    let (status, _, document) = ask(&address, "GET /openapi.json HTTP/1.1", "").await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&document).unwrap();
    let post = &document["paths"]["/call/echo"]["post"];
    let schema = &post["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["required"], json!(["text"]));
    assert!(schema["properties"].get("step").is_none());
    assert_eq!(document["security"], json!([{ "key": [] }]));
    assert!(document["paths"]["/hooks/push"]["post"]["responses"]["202"].is_object());
}

#[tokio::test]
async fn requests_become_particles() {
    let caller = Arc::new(Echo::default());
    let address = serve(parts(), caller.clone()).await;
    let (status, _, body) = ask(&address, "PUT /hooks/push?a=1 HTTP/1.1", "text").await;
    assert_eq!(
        (status, body.as_str()),
        (202, r#"{"particle":"the-particle"}"#)
    );
    let request = json!({ "method": "PUT", "path": "/hooks/push", "query": "a=1", "body": "text" });
    assert_eq!(*caller.0.lock().unwrap(), [json!({ "request": request })]);
    assert_eq!(ask(&address, "POST /hooks/other HTTP/1.1", "").await.0, 404);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |parts: Parts| Offer::new(parts).err().unwrap_or_default();
    let listener = |route: &str, function: &str| {
        let listener = ListenerConfig {
            route: route.to_owned(),
            function: function.to_owned(),
        };
        refused(Parts {
            listeners: vec![listener],
            ..parts()
        })
    };
    assert_eq!(listener("/a", "hook"), "");
    assert!(listener("/a", "none").contains("route `/a`: there is no function `none`"));
    assert!(listener("/a", "echo").contains("one argument"));
    for route in ["/health", "a", "/call/echo", "/{any}"] {
        let error = listener(route, "hook");
        assert!(error.contains("expected a path"), "{error}");
    }
    // A listener's function takes a request, nothing narrower.
    let mut narrow = parts();
    let request = json!({ "request": { "tag": "struct", "fields": { "body": scalar("string") } } });
    narrow.functions = vec![function("hook", request, json!({ "tag": "topType" }))];
    assert!(refused(narrow).contains("request has no field `method`"));
    let mut twice = parts();
    twice.functions.extend(functions());
    assert!(refused(twice).contains("two functions"));
    let none = Parts {
        max_calls: 0,
        ..parts()
    };
    assert!(refused(none).contains("max_calls is 0, expected 1 to"));
}
