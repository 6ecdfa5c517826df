"""The answers: one class a service, plain async methods on messages, which know no protocol."""
