//! Gitea's and Forgejo's numbers.

use fireactions_http::number;

number! {
    /// A runner, unique at its server.
    RunnerId
}
number! {
    /// A job of a workflow run, unique at its server.
    JobId
}
