//! Who is logged in.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a caller may do. Each may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but secrets.
    Viewer,
    /// Submit and cancel jobs, remove machines, run commands in them.
    Operator,
    /// Change pools, images and the host.
    Admin,
}

impl Role {
    /// Its name, as the configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a caller is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// A local program at a loopback address that needs no token.
    Open,
    /// A token in the request's header.
    Token,
    /// A login.
    Cookie,
    /// The Unix socket, whose permissions decide.
    Socket,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The name of the token; where there is none, how the caller came.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How it is known.
    pub via: Via,
    /// Whether people log in here. Where they do not, whoever gets here may do what `role` says.
    pub login: bool,
}

/// How people log in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginWays {
    /// With a token.
    pub token: bool,
    /// By a provider of OpenID Connect, at `/api/v1/session/oidc`: what people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<String>,
}

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// One of the server's tokens (`api_token_file`, `api_tokens`).
    pub token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}
