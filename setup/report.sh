#!/bin/bash
# report.sh SOURCE BUILD: bundles the script and the style of report.html from SOURCE (python/report) into BUILD.
# The build calls it. It never fails the build: without npm, or without a registry that answers, BUILD/why says why there is
# no page, and the next build tries again. Which registry, and how to reach it, is npm's own configuration.
set -u
source=$1
build=$2
mkdir -p "$build" || exit 0
exec 8>"$build/.lock"
flock 8
log=$build/log

give_up() { # REASON
    printf '%s\n' "$1" >"$build/why"
    echo "report.html: $1"
    exit 0
}

wanted=$(cat "$source"/package*.json "$source"/src/* "$0" | cksum)
if [ -s "$build/page.js" ] && [ -s "$build/page.css" ] && [ "$(cat "$build/made_of" 2>/dev/null)" = "$wanted" ]; then
    touch "$build/page.js" "$build/page.css"
    exit 0
fi
for program in node npm; do
    command -v "$program" >/dev/null || give_up "$program is not installed, so its script was not bundled"
done
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "${major:-0}" -ge 18 ] || give_up "node is of version $major, 18 is needed, so its script was not bundled"

rm -rf "$build/package"
mkdir -p "$build/package"
cp -r "$source"/package.json "$source"/package-lock.json "$source"/src "$build/package/" || give_up "cannot write to $build"
cd "$build/package" || exit 0
if ! npm ci --ignore-scripts --no-audit --no-fund --no-progress --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=60000 \
    >"$log" 2>&1 </dev/null; then
    give_up "npm could not fetch its packages ($log)"
fi
# What is bundled keeps its licences and notices.
{
    echo '/*! The following licences and notices belong to libraries in this script.'
    for name in echarts zrender tslib; do
        for file in LICENSE NOTICE LICENSE.txt; do
            [ -e "node_modules/$name/$file" ] || continue
            echo "=== $name: $file"
            sed 's|\*/|* /|g' "node_modules/$name/$file"
        done
    done
    echo '*/'
} >licences.js
node_modules/.bin/esbuild src/main.js --bundle --minify --format=iife --target=es2020 --charset=utf8 --legal-comments=none --outfile=bundle.js \
    >>"$log" 2>&1 </dev/null || give_up "its script could not be bundled ($log)"
cat licences.js bundle.js >"$build/page.js.new" && cp bundle.css "$build/page.css.new" || give_up "cannot write to $build"
mv "$build/page.css.new" "$build/page.css"
mv "$build/page.js.new" "$build/page.js"
printf '%s\n' "$wanted" >"$build/made_of"
rm -rf "$build/why" "$build/package"
