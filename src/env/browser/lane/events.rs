//! The events that a lane reads. Decoding is lenient: what is unknown is passed over.

use std::collections::BTreeMap;

use chromiumoxide_cdp::cdp::browser_protocol::fetch::HeaderEntry;
use serde::Deserialize;
use serde_json::Value;

use crate::env::browser::ledger::RequestBody;
use crate::types::RequestUse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachedEvent {
    pub(super) session_id: String,
    pub(super) target_info: TargetInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetInfo {
    pub(super) target_id: String,
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    pub(super) opener_id: Option<String>,
    #[serde(default)]
    pub(super) can_access_opener: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionEvent {
    pub(super) session_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameEvent {
    pub(super) frame_id: String,
    #[serde(default)]
    pub(super) parent_frame_id: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) disposition: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct NavigatedEvent {
    pub(super) frame: NavigatedFrame,
    #[serde(default)]
    pub(super) r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NavigatedFrame {
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    #[serde(default)]
    pub(super) loader_id: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) url_fragment: Option<String>,
    #[serde(default)]
    pub(super) unreachable_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ContextCreated {
    pub(super) context: ContextInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextInfo {
    pub(super) unique_id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) aux_data: Option<ContextAux>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextAux {
    #[serde(default)]
    pub(super) frame_id: Option<String>,
    #[serde(default)]
    pub(super) is_default: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextDestroyed {
    #[serde(default)]
    pub(super) execution_context_unique_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestEvent {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) loader_id: String,
    pub(super) request: RequestBody,
    #[serde(default)]
    pub(super) r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PausedEvent {
    pub(super) request_id: String,
    pub(super) request: RequestBody,
    #[serde(default)]
    pub(super) network_id: String,
    #[serde(default)]
    pub(super) frame_id: String,
    #[serde(default)]
    pub(super) resource_type: String,
    #[serde(default)]
    pub(super) response_status_code: Option<i64>,
    #[serde(default)]
    pub(super) response_error_reason: Option<String>,
    /// The request whose redirection this one follows.
    #[serde(default)]
    pub(super) redirected_request_id: Option<String>,
    #[serde(default)]
    pub(super) response_headers: Vec<HeaderEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponseEvent {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) loader_id: String,
    #[serde(default)]
    pub(super) r#type: String,
    pub(super) response: ResponseInfo,
}

/// What the network says of a response beside it: its headers as they came.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExtraInfo {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct ResponseInfo {
    pub(super) status: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestDone {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) encoded_data_length: f64,
    #[serde(default)]
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) error_text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketFrame {
    pub(super) request_id: String,
    pub(super) response: SocketPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketEvent {
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BindingEvent {
    pub(super) name: String,
    pub(super) payload: String,
    pub(super) execution_context_id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredEvent {
    pub(super) storage_id: StorageId,
    #[serde(default)]
    pub(super) key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorageId {
    #[serde(default)]
    pub(super) security_origin: String,
    #[serde(default)]
    pub(super) storage_key: String,
    pub(super) is_local_storage: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct DatabaseEvent {
    pub(super) origin: String,
    pub(super) database_name: String,
    pub(super) object_store_name: String,
    pub(super) cache_name: String,
}

#[derive(Deserialize)]
pub(super) struct MilestoneEvent {
    pub(super) timestamp: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketPayload {
    #[serde(default)]
    pub(super) payload_data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DialogEvent {
    pub(super) message: String,
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) default_prompt: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadEvent {
    pub(super) frame_id: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) suggested_filename: String,
}

#[derive(Deserialize)]
pub(super) struct LogEvent {
    pub(super) entry: LogEntry,
}

#[derive(Deserialize)]
pub(super) struct LogEntry {
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) text: String,
}

#[derive(Deserialize)]
pub(super) struct DragEvent {
    pub(super) data: Value,
}

impl PausedEvent {
    pub(super) fn r#use(&self) -> RequestUse {
        match self.resource_type.as_str() {
            "Document" | "XHR" | "Fetch" | "Ping" | "Other" | "EventSource" | "" => {
                RequestUse::Main
            }
            _ => RequestUse::Part,
        }
    }
}
