"""How calls come in and answers go out; one door a protocol, the same servicers behind each."""
