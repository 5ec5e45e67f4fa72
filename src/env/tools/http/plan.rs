//! How an HTTP operation is called: where each argument goes, and in which spelling.

use serde::{Deserialize, Serialize};

/// An HTTP operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Upper case.
    pub method: String,
    /// Base URL without trailing slash; empty where neither document nor registry names one.
    pub base: String,
    /// Path template: `/pets/{id}`.
    pub path: String,
    /// Where each argument goes, but for those of the body.
    pub slots: Vec<Slot>,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// An argument and its place in the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// The argument's name.
    pub argument: String,
    /// Its name on the wire.
    pub name: String,
    /// Its place.
    pub place: Place,
    /// How lists and objects are spelt.
    pub style: Style,
    /// Whether each item or property stands for itself.
    pub explode: bool,
    /// Whether reserved characters of a query stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_reserved: bool,
    /// Spelt as JSON (parameters with `content`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub json: bool,
}

/// A place in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A variable of the path template.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
}

/// How lists and objects are spelt: the styles of OpenAPI 3, and tab-separated lists of 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Style {
    /// `a,b`.
    Simple,
    /// `.a.b` (paths).
    Label,
    /// `;name=a,b` (paths).
    Matrix,
    /// `name=a,b`, exploded `name=a&name=b`.
    Form,
    /// `name=a%20b`.
    SpaceDelimited,
    /// `name=a|b`.
    PipeDelimited,
    /// `name=a%09b`.
    TabDelimited,
    /// `name[key]=a`.
    DeepObject,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Its media type, as it is sent.
    pub media: String,
    /// How it is written.
    pub encoding: BodyEncoding,
    /// Where it comes from.
    pub shape: BodyShape,
    /// Whether it must be there.
    pub required: bool,
    /// How single properties of a form are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyEncoding {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// The text itself.
    Text,
    /// Bytes; the argument holds them in base64.
    Binary,
}

/// Which arguments make the body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyShape {
    /// One argument is the whole body.
    Whole(String),
    /// Each property is an argument.
    Properties {
        /// Argument and property, in order.
        fields: Vec<Field>,
        /// Properties that a body must have, where the body itself is optional.
        required: Vec<String>,
    },
}

/// An argument that is a property of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The argument's name.
    pub argument: String,
    /// The property's name.
    pub name: String,
}

/// How a property of a form is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The property.
    pub name: String,
    /// Media type of its part (multipart), where the document gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// Whether the argument holds base64 of a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// How lists and objects are spelt, where the document says so; otherwise lists repeat their
    /// name and objects are JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// Whether each item or property stands for itself, under a style.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub explode: bool,
}
