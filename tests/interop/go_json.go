// Prints n random values, one a line: kind, the value's bytes in hex, and its JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"os"
	"strconv"
)

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	random := rand.New(rand.NewSource(1))
	for i := 0; i < n; i++ {
		var text []byte
		switch i % 4 {
		case 0: // any double
			f := math.Float64frombits(random.Uint64())
			if math.IsNaN(f) || math.IsInf(f, 0) {
				continue
			}
			text, _ = json.Marshal(f)
			fmt.Fprintf(out, "f64 %016x %s\n", math.Float64bits(f), text)
		case 1: // doubles of a few decimals, as meters show them
			f := float64(random.Int63n(1e9)) / math.Pow10(random.Intn(7))
			text, _ = json.Marshal(f)
			fmt.Fprintf(out, "f64 %016x %s\n", math.Float64bits(f), text)
		case 2: // any float; 2^-12 is left out, where Go releases differ
			f := math.Float32frombits(random.Uint32())
			if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) || f == 1.0/4096 || f == -1.0/4096 {
				continue
			}
			text, _ = json.Marshal(f)
			fmt.Fprintf(out, "f32 %08x %s\n", math.Float32bits(f), text)
		case 3: // strings of ASCII and other letters, in hex
			s := make([]rune, random.Intn(12))
			for k := range s {
				s[k] = rune(random.Intn(0x800))
				if random.Intn(3) > 0 {
					s[k] %= 128
				}
				// Go releases differ in how these two are written.
				if s[k] == '\b' || s[k] == '\f' {
					s[k] = 'x'
				}
			}
			text, _ = json.Marshal(string(s))
			fmt.Fprintf(out, "str %x %s\n", string(s)+"", text)
		}
	}
}
