"""The gateway's HTTP half: routes by area, uploads, problems, the OpenAPI document. It never touches the database."""
