//! The map room: slots, catalog, assignment, plan. Pure: it decides, others act.
