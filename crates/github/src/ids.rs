//! GitHub's numbers.

use fireactions_http::number;

number! {
    /// A self-hosted runner, in its scope.
    RunnerId
}
number! {
    /// A job of a workflow run.
    JobId
}
number! {
    /// A workflow run.
    RunId
}
