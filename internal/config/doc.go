// Package config reads the configuration file. It imports package problem only.
// Every field has a flag or a playbook input that wins over it.
package config
