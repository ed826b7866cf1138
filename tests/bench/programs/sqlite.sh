#!/bin/sh
# SPDX-License-Identifier: MIT
# base 1000: rows inserted into a table with an index, then queries
set -e
{
    echo "create table t(id integer primary key, k text, v real); create index i on t(k); begin;"
    seq 1 "$1" | sed 's/.*/insert into t values(&, "k" || (& * 7919 % 1009), & \/ 7.0);/'
    echo "commit; select count(*), sum(v), avg(length(k)), min(k), max(k) from t;"
    echo "select k, count(*), round(sum(v), 6) from t group by k order by 3 desc, 1 limit 5;"
    echo "select count(*) from t a join t b on a.k = b.k; pragma integrity_check;"
} | sqlite3 :memory:
