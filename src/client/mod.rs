//! The typed client: endpoints, keep-alive, leader hints, and only safe retries.
