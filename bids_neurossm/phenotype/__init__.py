"""What is known of participants: identifiers, cells of tables, labels and covariates."""
