# Makes a page of include/swoole.h: awk -v part=functions|types|constants -f reference.awk swoole.h
# The comments there are Markdown already. `part=intro` is the comment at the beginning.

function flush_comment(    text) {
    text = comment
    comment = ""
    return text
}

# A declaration that has ended, with the comment above it.
function emit(kind, name, code, text) {
    if (kind != part)
        return
    printf "\n## `%s`\n\n```c\n%s\n```\n\n%s", name, code, text
}

BEGIN {
    titles["functions"] = "Functions"
    titles["types"] = "Types"
    titles["constants"] = "Constants"
    if (part in titles)
        printf "# %s\n", titles[part]
    if (part == "constants")
        printf "\n| name | value | |\n|---|---|---|\n"
}

NR == 1 { is_intro = 1; next }
is_intro && /^ \*\// { is_intro = 0; next }
is_intro {
    sub(/^ \* ?/, "")
    if (NR == 2)
        sub(/^.*$/, "# swoole.h\n\n&")
    if (part == "intro")
        print
    next
}

# Inside of a declaration that takes several lines.
code != "" {
    code = code "\n" $0
    if (is_body ? /^}/ : /;$/) {
        if (is_body) {
            name = $0
            gsub(/^} |;$/, "", name)
        }
        emit(kind, name, code, flush_comment())
        code = ""
    }
    next
}

/^\/\// { sub(/^\/\/ ?/, ""); comment = comment $0 "\n"; next }

/^#define SW_/ {
    name = $2
    value = $0
    sub(/^#define [^ ]+ /, "", value)
    text = flush_comment()
    gsub(/\n/, " ", text)
    gsub(/\|/, "\\|", text)
    if (part == "constants")
        printf "| `%s` | `%s` | %s |\n", name, value, text
    next
}

/^typedef|^[a-z].*\(/ && !/^extern/ {
    kind = /^typedef/ ? "types" : "functions"
    is_body = /{$/
    name = $0
    if (/\(\*/)
        sub(/^.*\(\*/, "", name)
    else if (kind == "functions")
        sub(/^.*[ *]sw_/, "sw_", name)
    else
        sub(/^.* /, "", name)
    sub(/[^a-z0-9_].*$/, "", name)
    if (/;$/)
        emit(kind, name, $0, flush_comment())
    else
        code = $0
    next
}

{ comment = "" }
