//! Stand-in until the server is wired: refuses to serve.

use crate::config::Config;

/// Why the node ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// This build has no server.
    #[error("this build has no server yet (node {0})")]
    Absent(crate::model::NodeId),
}

/// Runs one node until it is stopped.
///
/// # Errors
///
/// Always.
pub async fn serve(config: Config) -> Result<(), AppError> {
    Err(AppError::Absent(config.node))
}
