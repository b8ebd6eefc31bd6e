module service-conformance/ci/schemas

go 1.24
