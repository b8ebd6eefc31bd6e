"""Any cluster that a kubeconfig reaches: ``kubeconfig://PATH?context=NAME``."""
