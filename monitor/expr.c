/* SPDX-License-Identifier: MIT
 * monitor/expr.c - arithmetic in monitor commands.
 *
 * Models: the grammar users know from QEMU's monitor, with its precedence: + and - bind weakest, then & | ^,
 * then * / %; unary - + ~; parentheses; 'c'; $register.
 * Threads: main loop; the vCPU whose registers are read is stopped or read between instructions.
 */
#include "monitor_internal.h"
#include "rhea/util/errorcode.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXPR_DEPTH = 64 };

typedef struct Expr {
    Vcpu *cpu;
    const char *p;
    unsigned depth;
    Error **errp;
} Expr;

static bool expr_sum(Expr *e, uint64_t *out);

static void skip_blank(Expr *e)
{
    while (isspace((unsigned char)*e->p)) {
        e->p++;
    }
}

typedef struct RegRead {
    Vcpu *cpu;
    const char *name;
    uint64_t value;
    bool found;
} RegRead;

static void read_reg(void *opaque)
{
    RegRead *r = opaque;
    r->found = r->cpu->target->get_reg(r->cpu, r->name, &r->value);
}

static bool expr_register(Expr *e, uint64_t *out)
{
    const char *start = ++e->p;
    while (isalnum((unsigned char)*e->p) || *e->p == '_') {
        e->p++;
    }
    g_autofree char *name = g_ascii_strdown(start, e->p - start);
    RegRead r = { .cpu = e->cpu, .name = name };
    if (!e->cpu || !e->cpu->target->get_reg) {
        return error_fail(e->errp, "no-cpu", NULL, "use numbers",
                          "$%s: this machine has no CPU with named registers", name);
    }
    vcpu_run_on_wait(e->cpu, read_reg, &r);
    if (!r.found) {
        return error_fail(e->errp, "not-found", NULL, "'info registers' shows the names",
                          "unknown register '$%s'", name);
    }
    *out = r.value;
    return true;
}

static bool expr_char(Expr *e, uint64_t *out)
{
    if (!e->p[1] || e->p[2] != '\'') {
        return error_fail(e->errp, "invalid-syntax", NULL, "one character between quotation marks",
                          "a character is written like 'a'");
    }
    *out = (unsigned char)e->p[1];
    e->p += 3;
    return true;
}

static bool expr_unary(Expr *e, uint64_t *out)
{
    skip_blank(e);
    if (++e->depth > EXPR_DEPTH) {
        return error_fail(e->errp, "invalid-syntax", NULL, "use fewer brackets",
                          "expression is nested too deeply");
    }
    bool ok = true;
    char c = *e->p;
    if (c == '+' || c == '-' || c == '~') {
        e->p++;
        ok = expr_unary(e, out);
        *out = !ok ? 0 : c == '-' ? -*out : c == '~' ? ~*out : *out;
    } else if (c == '(') {
        e->p++;
        ok = expr_sum(e, out);
        if (ok && *e->p != ')') {
            ok = error_fail(e->errp, "invalid-syntax", NULL, "close what was opened", "')' expected");
        }
        e->p += ok;
    } else if (c == '$') {
        ok = expr_register(e, out);
    } else if (c == '\'') {
        ok = expr_char(e, out);
    } else if (isdigit((unsigned char)c)) {
        char *end;
        errno = 0;
        *out = strtoull(e->p, &end, 0);
        ok = errno == 0 || error_fail(e->errp, "out-of-range", NULL, "the largest is 0xffffffffffffffff",
                                      "number '%s' does not fit 64 bits", e->p);
        e->p = end;
    } else {
        ok = c ? error_fail(e->errp, "invalid-syntax", NULL, "numbers, $REGISTER, operators and brackets go",
                            "unexpected '%c' in expression", c)
               : error_fail(e->errp, "invalid-syntax", NULL, "give a number or $REGISTER",
                            "expression ends where a value is expected");
    }
    skip_blank(e);
    e->depth--;
    return ok;
}

static bool expr_product(Expr *e, uint64_t *out)
{
    if (!expr_unary(e, out)) {
        return false;
    }
    while (*e->p == '*' || *e->p == '/' || *e->p == '%') {
        char op = *e->p++;
        uint64_t right;
        if (!expr_unary(e, &right)) {
            return false;
        }
        if (op != '*' && right == 0) {
            return error_fail(e->errp, "invalid-value", NULL, "divide by something else", "division by zero");
        }
        *out = op == '*' ? *out * right : op == '/' ? *out / right : *out % right;
    }
    return true;
}

static bool expr_logic(Expr *e, uint64_t *out)
{
    if (!expr_product(e, out)) {
        return false;
    }
    while (*e->p == '&' || *e->p == '|' || *e->p == '^') {
        char op = *e->p++;
        uint64_t right;
        if (!expr_product(e, &right)) {
            return false;
        }
        *out = op == '&' ? *out & right : op == '|' ? *out | right : *out ^ right;
    }
    return true;
}

static bool expr_sum(Expr *e, uint64_t *out)
{
    if (!expr_logic(e, out)) {
        return false;
    }
    while (*e->p == '+' || *e->p == '-') {
        char op = *e->p++;
        uint64_t right;
        if (!expr_logic(e, &right)) {
            return false;
        }
        *out = op == '+' ? *out + right : *out - right;
    }
    return true;
}

bool monitor_eval(Vcpu *cpu, const char *text, uint64_t *out, Error **errp)
{
    Expr e = { .cpu = cpu, .p = text, .errp = errp };
    if (!expr_sum(&e, out)) {
        return false;
    }
    if (*e.p) {
        return error_fail(errp, "invalid-syntax", NULL, "put it in quotation marks if it is part of it",
                          "'%s' is left over at the end of the expression", e.p);
    }
    return true;
}
