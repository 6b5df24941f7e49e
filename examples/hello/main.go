// Command hello is Troupe's demo workload: a static web server that shows where it runs.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	addr := ":8080"
	if p := os.Getenv("PORT"); p != "" {
		addr = ":" + p
	}
	started := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { greet(w, r, started) })

	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		log.Print("asked to stop: finishing the requests in hand")
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(end)
	}()
	log.Printf("listening on %s", addr)
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	log.Print("bye")
}

func greet(w http.ResponseWriter, r *http.Request, started time.Time) {
	host, _ := os.Hostname()
	fmt.Fprintf(w, "Hello from pod %s", first(os.Getenv("POD_NAME"), host))
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		fmt.Fprintf(w, " in namespace %s", ns)
	}
	fmt.Fprintf(w, ", up for %s.\n", time.Since(started).Round(time.Millisecond))
	if greeting, err := os.ReadFile("/etc/hello/greeting"); err == nil {
		fmt.Fprintln(w, strings.TrimSpace(string(greeting)))
	}
	log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
