//! A provider of tools in memory: a store of items, with trouble on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use branchline::context::Cx;
use branchline::env::tools::{
    Access, Binding, CallError, Prepared, Reply, Session, Source, SourceError, Tool,
};
use branchline::env::{Site, SiteError, SiteInstance, SiteState};
use branchline::types::{Effect, EffectKind, Rejection};
use serde_json::{Map, Value, json};

/// What the server holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Items {
    pub(crate) names: BTreeMap<i64, String>,
    next: i64,
}

/// The store: a source, and the site behind it.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    items: Arc<Mutex<Items>>,
    /// Every session has items of its own.
    per_session: bool,
    /// Names of further tools that read and always give the same.
    reads: Vec<String>,
    /// Ids are not given again after a delete, as in most databases.
    log: Mutex<Vec<String>>,
    clock: AtomicU64,
    /// Calls whose answers are withheld until this is let go.
    gate: tokio::sync::Semaphore,
    most_at_a_time: Mutex<(usize, usize)>,
}

impl Store {
    pub(crate) fn new(per_session: bool) -> Self {
        Self::with_reads(per_session, Vec::new())
    }

    pub(crate) fn with_reads(per_session: bool, reads: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            items: Arc::default(),
            per_session,
            reads,
            log: Mutex::default(),
            clock: AtomicU64::new(0),
            gate: tokio::sync::Semaphore::new(0),
            most_at_a_time: Mutex::default(),
        }))
    }

    /// The calls that reached the server, in their order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap().clone()
    }

    pub(crate) fn items(&self) -> Items {
        self.0.items.lock().unwrap().clone()
    }

    pub(crate) fn set(&self, id: i64, name: &str) {
        let mut items = self.0.items.lock().unwrap();
        items.names.insert(id, name.to_owned());
        items.next = items.next.max(id);
    }

    pub(crate) fn remove(&self, id: i64) {
        self.0.items.lock().unwrap().names.remove(&id);
    }

    /// Lets so many calls of `wait` and `wait_write` go on.
    pub(crate) fn open_gate(&self, calls: usize) {
        self.0.gate.add_permits(calls);
    }

    /// The most calls that were under way at a time.
    pub(crate) fn most_at_a_time(&self) -> usize {
        self.0.most_at_a_time.lock().unwrap().1
    }
}

fn tool(name: &str, access: Access, properties: &Value) -> Arc<Tool> {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    let parameters = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    Arc::new(Tool {
        name: name.to_owned(),
        source: "store".to_owned(),
        original: name.to_owned(),
        summary: format!("The operation {name}"),
        description: String::new(),
        tags: Vec::new(),
        parameters,
        output: None,
        access,
        independent: ["rename_item", "cut_write", "wait_write"].contains(&name),
        binding: Binding::Mcp {
            tool: name.to_owned(),
        },
        notes: Vec::new(),
    })
}

#[async_trait]
impl Source for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    fn tools(&self) -> Vec<Arc<Tool>> {
        let id = json!({"id": {"type": "integer"}});
        let name = json!({"name": {"type": "string"}});
        let reads = self.0.reads.iter();
        let mut tools = vec![
            tool("get_item", Access::Read, &id),
            tool("list_items", Access::Read, &json!({})),
            tool("create_item", Access::Write, &name),
            tool("delete_item", Access::Write, &id),
            tool(
                "rename_item",
                Access::Idempotent,
                &json!({"id": {"type": "integer"}, "name": {"type": "string"}}),
            ),
            tool("big", Access::Read, &json!({})),
            tool("clock", Access::Read, &json!({})),
            tool("wait", Access::Read, &id),
            tool("slow", Access::Read, &id),
            tool("unreachable", Access::Read, &json!({})),
            tool("forbidden", Access::Read, &json!({})),
            tool("lost", Access::Read, &json!({})),
            tool("cookie", Access::Read, &json!({})),
            tool("cut_write", Access::Write, &json!({})),
            tool("wait_write", Access::Write, &id),
        ];
        tools.extend(reads.map(|name| tool(name, Access::Read, &json!({}))));
        tools
    }

    async fn open(&self, _cx: &Cx) -> Result<Box<dyn Session>, SourceError> {
        let items = if self.0.per_session {
            Arc::new(Mutex::new(self.items()))
        } else {
            Arc::clone(&self.0.items)
        };
        Ok(Box::new(StoreSession {
            store: self.clone(),
            items,
            cookie: Mutex::new(Value::Null),
        }))
    }
}

struct StoreSession {
    store: Store,
    items: Arc<Mutex<Items>>,
    cookie: Mutex<Value>,
}

fn reply(status: u16, content: Value) -> Reply {
    Reply {
        error: status >= 400,
        status: Some(status),
        bytes: content.to_string().len() as u64,
        content,
        notes: Vec::new(),
    }
}

impl StoreSession {
    fn answer(&self, name: &str, arguments: &Map<String, Value>) -> Reply {
        let mut items = self.items.lock().unwrap();
        let id = arguments
            .get("id")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let text = arguments
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let missing = || reply(404, json!({"error": format!("no item {id}")}));
        match name {
            "get_item" if id == 401 => reply(401, json!({"error": "who are you?"})),
            "get_item" => items
                .names
                .get(&id)
                .map_or_else(missing, |name| reply(200, json!({"id": id, "name": name}))),
            "list_items" => reply(200, json!(items.names)),
            "create_item" => {
                items.next += 1;
                let id = items.next;
                items.names.insert(id, text.to_owned());
                reply(201, json!({"id": id, "name": text}))
            }
            "delete_item" => items
                .names
                .remove(&id)
                .map_or_else(missing, |_| reply(200, json!({"deleted": id}))),
            "rename_item" => match items.names.get_mut(&id) {
                Some(name) => {
                    text.clone_into(name);
                    reply(200, json!({"id": id, "name": text}))
                }
                None => missing(),
            },
            "big" => {
                let rows: Vec<Value> = (0..1000)
                    .map(|n| json!({"row": n, "text": "lorem ipsum ".repeat(10)}))
                    .collect();
                reply(200, json!({"rows": rows, "total": 1000}))
            }
            "clock" => {
                let now = self.store.0.clock.fetch_add(1, Ordering::SeqCst);
                reply(200, json!({"time": now, "zone": "UTC"}))
            }
            "cookie" => {
                *self.cookie.lock().unwrap() = json!("visited");
                reply(200, json!("have a cookie"))
            }
            _ => reply(200, json!({"id": id})),
        }
    }
}

#[async_trait]
impl Session for StoreSession {
    fn prepare(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<Prepared, Rejection> {
        let properties = tool.parameters["properties"].as_object().unwrap();
        for (name, schema) in properties {
            let fits = match schema["type"].as_str() {
                Some("integer") => arguments.get(name).is_some_and(Value::is_i64),
                _ => arguments.get(name).is_some_and(Value::is_string),
            };
            if !fits {
                return Err(Rejection {
                    reason: format!("`{}` needs `{name}`", tool.name),
                    nearest: Vec::new(),
                });
            }
        }
        let kind = if tool.access == Access::Read {
            EffectKind::Read
        } else {
            EffectKind::Write
        };
        Ok(Prepared {
            effect: Effect {
                kind,
                method: "POST".to_owned(),
                url: format!("http://store.test/{}", tool.name),
                headers: Vec::new(),
                body: Some(json!(arguments).to_string()),
                held: false,
            },
            arguments: arguments.clone(),
        })
    }

    async fn call(&self, tool: &Tool, prepared: &Prepared, cx: &Cx) -> Result<Reply, CallError> {
        let name = tool.name.as_str();
        let store = &self.store.0;
        store
            .log
            .lock()
            .unwrap()
            .push(format!("{name} {}", json!(prepared.arguments)));
        let failed = |reason: &str| CallError::Unreachable {
            tool: name.to_owned(),
            reason: reason.to_owned(),
        };
        match name {
            "unreachable" => return Err(failed("connection refused")),
            "forbidden" => {
                return Err(CallError::Forbidden {
                    tool: name.to_owned(),
                    reason: "another host".to_owned(),
                });
            }
            "lost" => {
                return Err(CallError::SessionLost {
                    tool: name.to_owned(),
                    reason: "the server ended".to_owned(),
                });
            }
            "cut_write" => {
                self.items.lock().unwrap().next += 1;
                return Err(failed("the connection broke"));
            }
            "wait" | "wait_write" => {
                {
                    let mut running = store.most_at_a_time.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                let hour = Duration::from_hours(1);
                let permit = cx.bounded(hour, store.gate.acquire()).await?;
                permit.unwrap().forget();
                store.most_at_a_time.lock().unwrap().0 -= 1;
            }
            "slow" => cx.pause(Duration::from_millis(5)).await?,
            _ => {}
        }
        Ok(self.answer(name, &prepared.arguments))
    }

    fn save(&self) -> Value {
        self.cookie.lock().unwrap().clone()
    }

    fn load(&self, state: &Value) {
        *self.cookie.lock().unwrap() = state.clone();
    }
}

// ---------------------------------------------------------------- the site behind it

/// The store's server, with hooks that save and load it.
#[async_trait]
impl Site for Store {
    fn logical_origin(&self) -> &'static str {
        "http://store.test"
    }

    async fn lease(&self, _cx: &Cx) -> Result<Box<dyn SiteInstance>, SiteError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl SiteInstance for Store {
    fn origin(&self) -> &'static str {
        "http://store.test"
    }

    fn resets(&self) -> bool {
        false
    }

    async fn reset(&self, _cx: &Cx) -> Result<(), SiteError> {
        Err(SiteError::Unsupported("reset"))
    }

    async fn save(&self, _cx: &Cx) -> Result<Option<SiteState>, SiteError> {
        Ok(Some(SiteState(Arc::new(self.items()))))
    }

    async fn load(&self, state: &SiteState, _cx: &Cx) -> Result<(), SiteError> {
        let items: &Items = state.0.downcast_ref().unwrap();
        *self.0.items.lock().unwrap() = items.clone();
        Ok(())
    }

    async fn sql(&self, _statement: &str, _cx: &Cx) -> Result<Value, SiteError> {
        Err(SiteError::Unsupported("answer SQL"))
    }
}
