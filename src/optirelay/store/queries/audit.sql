-- What operators decided; every statement is one tenant's.

-- name: keep
insert into audit (tenant, account, action, subject, reason)
select %(tenant)s, %(account)s, %(action)s, subject, %(reason)s from unnest(%(subjects)s::text[]) as subject;
